"""Fixed-length vectors from bags: statistics over the slices of a bag, or of each phase."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import Bag

Statistic = Callable[[NDArray[Any]], NDArray[Any]]

STATISTICS: Mapping[str, Statistic] = {
    "mean": lambda features: np.nanmean(features, axis=0),
    "max": lambda features: np.nanmax(features, axis=0),
    "std": lambda features: np.nanstd(features, axis=0),
    "q25": lambda features: np.nanquantile(features, 0.25, axis=0),
    "median": lambda features: np.nanquantile(features, 0.5, axis=0),
    "q75": lambda features: np.nanquantile(features, 0.75, axis=0),
}
"""(n, d) -> (d,), by name; over the slices of which a feature is known."""


def pool_all(bags: Sequence[Bag], statistics: Sequence[str]) -> NDArray[np.float64]:
    """Return the statistics over all slices of each bag (bags, statistics x d)."""
    return np.stack([_pool(bag.features, statistics) for bag in bags])


def pool_phases(bags: Sequence[Bag], statistics: Sequence[str]) -> NDArray[np.float64]:
    """Return the statistics over the slices of each phase (bags, phases x statistics x d).

    The columns of a phase without slices are NaN, which tree models handle as missing.
    """
    return np.stack([_pool_phases_of(bag, statistics).ravel() for bag in bags])


def pool_phases_and_differences(bags: Sequence[Bag], statistics: Sequence[str]) -> NDArray[np.float64]:
    """Return the columns of `pool_phases`, then the mean of each later phase minus that of each earlier phase.

    These differences contain washout. They are NaN if either phase is missing.
    """
    rows = []
    for bag in bags:
        means = _pool_phases_of(bag, ["mean"])[:, 0]  # (phases, d)
        early, late = np.triu_indices(len(means), k=1)
        rows.append(
            np.concatenate([_pool_phases_of(bag, statistics).ravel(), (means[late] - means[early]).ravel()])
        )
    return np.stack(rows)


def mean_of_instances(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over the instances (d,), skipping missing measures (NaN); NaN if all are missing."""
    return _pool(features, ["mean"])


def _pool(features: NDArray[Any], statistics: Sequence[str]) -> NDArray[np.float64]:
    # Sums of float32 depend on the order of the slices.
    exact = features.astype(np.float64)
    is_unknown = np.isnan(exact).all(axis=0)  # of no slice: NaN in every statistic, without numpy's warning
    exact[:, is_unknown] = 0
    pooled = np.stack([STATISTICS[name](exact) for name in statistics])
    pooled[:, is_unknown] = np.nan
    return pooled.ravel()


def _pool_phases_of(bag: Bag, statistics: Sequence[str]) -> NDArray[np.float64]:
    """Return the statistics of each phase (phases, statistics, d)."""
    n_phases, d = len(bag.header.phase_names), bag.features.shape[1]
    pooled = np.full((n_phases, len(statistics), d), np.nan)
    for phase in np.unique(bag.phase):
        pooled[phase] = _pool(bag.features[bag.phase == phase], statistics).reshape(len(statistics), d)
    return pooled
