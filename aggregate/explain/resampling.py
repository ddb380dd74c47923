"""The patient bootstrap of the explanations: one set of resamples for all values of a cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.intervals import Estimate, Scale, bootstrap_interval, without_estimate
from aggregate.statistics.resamples import draw_resamples

FEWEST = 3
"""Fewer patients than this give no interval."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """How often each patient counts in each draw.

    Attributes:
        weights: float64 (patients, 1 + draws); the first column is the cohort itself.
        confidence: level of the intervals.
    """

    weights: NDArray[np.float64]
    confidence: float = 0.95

    def mean(self, values: NDArray[np.float64], patients: Sequence[int]) -> Mapping[str, Any]:
        """Return the cells of a mean over patients (n,), NaN left out."""
        return self.ratio(values, np.where(np.isfinite(values), 1.0, np.nan), patients)

    def ratio(
        self, above: NDArray[np.float64], below: NDArray[np.float64], patients: Sequence[int]
    ) -> Mapping[str, Any]:
        """Return the cells of sum(above) / sum(below) over the patients without NaN."""
        known = np.isfinite(above) & np.isfinite(below)
        weights = self.weights[np.asarray(patients, dtype=np.intp)[known]]
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = (above[known] @ weights) / (below[known] @ weights)
        return self.cells(draws, int(known.sum()))

    def cells(self, draws: NDArray[np.float64], n: int, *, scale: Scale = "linear") -> Mapping[str, Any]:
        """Return estimate, ci_low, ci_high, ci_method and n of draws (1 + draws,); None for missing values."""
        if n >= FEWEST:
            found = bootstrap_interval(draws, scale=scale, smallest_n=n, confidence=self.confidence)
        else:
            value = float(draws[0]) if n and np.isfinite(draws[0]) else None
            found = Estimate(value, None, None, without_estimate(f"{n} patients").method)
        return cells_of(found, n)

    def correlation_cells(self, draws: NDArray[np.float64], n: int) -> Mapping[str, Any]:
        """Return the same cells for a correlation, whose interval ends at -1 and 1."""
        cells = dict(self.cells(draws, n))
        for name in ("ci_low", "ci_high"):
            cells[name] = None if cells[name] is None else float(np.clip(cells[name], -1, 1))
        return cells


def cells_of(found: Estimate, n: int) -> Mapping[str, Any]:
    """Return estimate, ci_low, ci_high, ci_method and n of an estimate on n patients."""
    return {
        "estimate": found.value,
        "ci_low": found.low,
        "ci_high": found.high,
        "ci_method": found.method,
        "n": n,
    }


def resampling_of(labels: NDArray[np.intp], *, draws: int, seed: int, confidence: float = 0.95) -> Resampling:
    """Draw the resamples of a cohort, stratified by label as in every other table."""
    return Resampling(draw_resamples(labels, draws=draws, seed=seed), confidence)
