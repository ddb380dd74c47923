"""Is the difference between two models real: paired tests on the same patients and the same folds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from aggregate.statistics.ranking import placements
from aggregate.statistics.resamples import Sample

_ALIKE = 1e-12


@dataclass(frozen=True)
class Difference:
    """Model a minus model b, with its interval and two-sided p-value; None where it cannot be had."""

    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    reason: str = ""
    """Why something is missing."""


def without_difference(reason: str) -> Difference:
    """Return the difference that cannot be had, for a reason."""
    return Difference(None, None, None, None, reason)


def paired_bootstrap(
    draws_a: NDArray[np.float64],
    draws_b: NDArray[np.float64],
    *,
    smallest_n: int,
    confidence: float = 0.95,
    sample: Sample | None = None,
) -> Difference:
    """Compare two models that were measured on the same resamples of the patients.

    The interval and the p-value rest on the standard error of the paired difference among the resamples and on
    Student's t, so that the interval excludes 0 exactly where p falls below 1 - confidence.

    Args:
        draws_a: float64 (1 + draws,), the metric of the cohort first; of model a.
        draws_b: the same of model b.
        smallest_n: patients in the smallest group that the metric rests on; without a sample, one less are the
            degrees of freedom.
        confidence: such as 0.95.
        sample: the patients that were resampled, with the design effect of the difference; used as by
            `bootstrap_interval`.
    """
    differences = draws_a - draws_b
    finite = differences[1:][np.isfinite(differences[1:])]
    if not math.isfinite(differences[0]) or len(finite) < 2:
        return without_difference("the metric is undefined on these patients")
    effect = sample.design_effect if sample else None
    error = float(np.std(finite, ddof=1)) * math.sqrt(effect or 1)
    freedom = sample.freedom(differences) if sample and error > _ALIKE else smallest_n - 1
    return _by_student(float(differences[0]), error, freedom, confidence)


def corrected_t(
    differences: NDArray[np.float64], *, test_over_train: float, confidence: float = 0.95
) -> Difference:
    """Corrected resampled t-test of Nadeau and Bengio (2003) over the folds of a repeated cross-validation.

    The training sets of the folds overlap, so the variance of the mean is (1/J + n_test / n_train) s^2 and not
    s^2 / J.

    Args:
        differences: float64 (folds,), one per fold of every repeat; NaN where a fold lacks a class.
        test_over_train: patients tested over patients trained on, in a fold.
        confidence: such as 0.95.
    """
    known = differences[np.isfinite(differences)]
    if len(known) < 2:
        return without_difference("fewer than 2 folds hold every class")
    error = math.sqrt((1 / len(known) + test_over_train) * float(np.var(known, ddof=1)))
    return _by_student(float(known.mean()), error, len(known) - 1, confidence)


def delong(
    scores_a: NDArray[np.float64],
    scores_b: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    *,
    confidence: float = 0.95,
) -> Difference:
    """Compare two correlated AUCs as DeLong, DeLong and Clarke-Pearson (1988) do.

    Args:
        scores_a: float64 (repeats, n), averaged over the repeats as placements; of model a.
        scores_b: the same of model b.
        is_positive: bool (n,).
        confidence: such as 0.95.
    """
    if min(is_positive.sum(), (~is_positive).sum()) < 2:
        return without_difference("a class has fewer than 2 patients")
    of_a, of_b = placements(scores_a, is_positive), placements(scores_b, is_positive)
    sides = [side_a - side_b for side_a, side_b in zip(of_a, of_b, strict=True)]  # positives, negatives
    error = math.sqrt(sum(float(np.var(side, ddof=1)) / len(side) for side in sides))
    return _by_student(float(sides[0].mean()), error, math.inf, confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method."""
    # Not statsmodels' multipletests: it collects garbage at every call, 0.1 s each.
    order = np.argsort(p_values, kind="stable")
    left = len(p_values) - np.arange(len(p_values))  # hypotheses not yet rejected
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * left))
    return [float(p) for p in adjusted]


def _by_student(difference: float, error: float, freedom: float, confidence: float) -> Difference:
    if error < _ALIKE:
        if abs(difference) < _ALIKE:
            return Difference(0.0, None, None, 1.0, "the models agree on every patient")
        return Difference(difference, None, None, None, "the difference does not vary")
    if math.isinf(freedom):
        quantile, p_value = norm.ppf((1 + confidence) / 2), 2 * norm.sf(abs(difference) / error)
    else:
        freedom = max(1.0, freedom)
        quantile = student.ppf((1 + confidence) / 2, freedom)
        p_value = 2 * student.sf(abs(difference) / error, freedom)
    return Difference(
        difference, difference - quantile * error, difference + quantile * error, float(p_value)
    )
