"""Split-conformal prediction sets: the classes that cannot be ruled out, and whom the model abstains on.

The score of a patient is 1 - p of the reference class (Sadinle, Lei and Wasserman 2019). Of n patients whom the models had
not seen, the k-th smallest score with k = ceil((n + 1) c) is the limit for the coverage c; a set holds every class whose
1 - p is at most the limit. Were these patients and the new one exchangeable and the model one and the same, the reference
class would be in the set with a probability of at least c.

The scores are those of the out-of-fold predictions, and not of the tune patients: these decided when the models stopped
learning, so that their scores are too good. The models of the folds are not quite the one that is asked (cross-conformal
prediction, Vovk 2015), and a new hospital is not exchangeable with this one: the coverage found is told, and no promise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.errors import ConfigError

COVERAGES = tuple(step / 100 for step in range(50, 100))
"""Coverages that a package can be asked for."""
_ROUNDING = 1e-9


class SetLevel(BaseModel):
    """The prediction sets of one coverage, and what was found of them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    coverage: float
    limit: float | None
    """Largest 1 - p of a class in the set; null where the training patients are too few for the coverage."""
    found: float | None
    """Share of the patients whose set held their class, the limit chosen on the patients of the other folds."""
    found_of_class: dict[str, float | None]
    """The same share, of the patients of each class."""
    mean_size: float | None
    """Classes in a set, on average."""
    share_of_one: float | None
    """Share of the patients whose set was a single class; on all others the model abstains."""


def conformal_limit(scores: NDArray[np.float64], coverage: float) -> float | None:
    """Return the largest score of a class in a set; None where the patients are too few.

    Args:
        scores: float64 (repeats, n), of the reference class of each patient, smaller is better. A patient counts once, however
            many repeats there are.
        coverage: above 0, below 1.
    """
    repeats, n = scores.shape
    rank = math.ceil((n + 1) * coverage - _ROUNDING)
    if rank > n:
        return None
    return float(np.sort(scores, axis=None)[rank * repeats - 1])


def in_sets(probabilities: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    """Return which classes are in the set of each row, bool as the probabilities (..., classes)."""
    return np.asarray(1 - probabilities <= limit + _ROUNDING)


def measured_levels(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.intp],
    fold: NDArray[np.intp],
    classes: Sequence[str],
) -> list[SetLevel]:
    """Return the limit of every coverage, and what was found with limits chosen on other patients.

    Args:
        probabilities: calibrated, out of fold, float64 (repeats, n, classes).
        labels: intp (n,).
        fold: intp (repeats, n).
        classes: names of the classes.
    """
    told = _OutOfFold(probabilities, labels, fold)
    return [_measured(coverage, told, classes) for coverage in COVERAGES]


def level_of(levels: Sequence[SetLevel], coverage: float, n_patients: int) -> SetLevel:
    """Return the sets of a coverage.

    Raises:
        ConfigError: it is none of those that a package has, or the training patients are too few for it.
    """
    found = next((one for one in levels if abs(one.coverage - coverage) < _ROUNDING), None)
    if found is None:
        raise ConfigError(
            f"--coverage {coverage:g}: expected a share from {COVERAGES[0]:g} to {COVERAGES[-1]:g} in steps of 0.01"
        )
    if found.limit is None:
        most = max(one.coverage for one in levels if one.limit is not None)
        raise ConfigError(
            f"--coverage {coverage:g}: {n_patients} patients of the cross-validation are too few for it; at most {most:g}"
        )
    return found


@dataclass(frozen=True, eq=False)
class _OutOfFold:
    probabilities: NDArray[np.float64]
    labels: NDArray[np.intp]
    fold: NDArray[np.intp]

    @property
    def scores(self) -> NDArray[np.float64]:
        """1 - p of the reference class, float64 (repeats, n)."""
        return 1 - self.of_reference(self.probabilities)

    def of_reference(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what stands for the reference class of each patient (repeats, n)."""
        return np.asarray(np.take_along_axis(values, self.labels[None, :, None], axis=2)[:, :, 0])


def _measured(coverage: float, told: _OutOfFold, classes: Sequence[str]) -> SetLevel:
    scores = told.scores
    sets = np.zeros(told.probabilities.shape, dtype=np.bool_)
    for repeat, folds in enumerate(told.fold):
        for one in np.unique(folds):
            limit = conformal_limit(scores[repeat : repeat + 1, folds != one], coverage)
            # Without a limit nothing can be ruled out.
            here = folds == one
            sets[repeat, here] = in_sets(told.probabilities[repeat, here], np.inf if limit is None else limit)
    is_in = told.of_reference(sets)
    sizes = sets.sum(axis=2)
    return SetLevel(
        coverage=coverage,
        limit=conformal_limit(scores, coverage),
        found=float(is_in.mean()),
        found_of_class={name: _share(is_in[:, told.labels == k]) for k, name in enumerate(classes)},
        mean_size=float(sizes.mean()),
        share_of_one=float((sizes == 1).mean()),
    )


def _share(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None
