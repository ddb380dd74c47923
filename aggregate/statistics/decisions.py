"""What a probability is good for: thresholds chosen without the test patients, and net benefit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.printed_probabilities import as_printed

ThresholdRule = Literal["youden", "sensitivity", "specificity"]
DECISION_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Probabilities at which a patient would be treated as of the class."""
NOBODY = 1.000001
"""A threshold that no probability reaches."""
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class TuneFold:
    """What one model says of the tune patients of one fold, none of whom it was trained or will be tested on.

    Attributes:
        repeat: from 0.
        fold: from 0 within the repeat.
        patient_ids: n_tune identifiers.
        labels: intp (n_tune,), index into the classes.
        probabilities: float64 (n_tune, classes), as they are printed.
    """

    repeat: int
    fold: int
    patient_ids: tuple[str, ...]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", as_printed(self.probabilities))


def choose_threshold(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], *, rule: ThresholdRule, target: float
) -> float | None:
    """Return the threshold at or above which a patient is called positive; None without both kinds of patients.

    Args:
        scores: float64 (n,), probabilities of the class.
        is_positive: bool (n,).
        rule: "youden" takes the largest sensitivity + specificity; "sensitivity" the highest threshold that finds
            `target` of the positives; "specificity" the lowest that spares `target` of the negatives.
        target: sensitivity or specificity to reach.
    """
    if is_positive.all() or not is_positive.any():
        return None
    thresholds = np.unique(scores)[::-1]
    called = scores >= thresholds[:, None]  # (thresholds, n)
    sensitivity, specificity = called[:, is_positive].mean(axis=1), 1 - called[:, ~is_positive].mean(axis=1)
    if rule == "youden":
        return float(thresholds[np.argmax(np.round(sensitivity + specificity, 12))])
    if rule == "sensitivity":
        return float(thresholds[np.argmax(sensitivity >= target - _ROUNDING)])
    # Above every score nobody is called, which spares all negatives.
    reached = np.flatnonzero(specificity >= target - _ROUNDING)
    return float(thresholds[reached[-1]]) if len(reached) else NOBODY


def net_benefit(
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    thresholds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Net benefit of treating whoever reaches a threshold (Vickers and Elkin 2006), averaged over the repeats.

    True positives less false positives at the exchange rate of the threshold t, t / (1 - t), per patient.

    Args:
        probabilities: float64 (repeats, n) of the class.
        is_positive: bool (n,).
        weights: float64 (n, draws).
        thresholds: float64 (thresholds,), between 0 and 1.

    Returns:
        float64 (thresholds, draws). Treating everybody is the net benefit of probabilities 1, nobody is 0.
    """
    treated = (probabilities[None] >= thresholds[:, None, None]).mean(axis=1)  # (thresholds, n)
    odds = (thresholds / (1 - thresholds))[:, None]
    gained = np.where(is_positive[None], 1.0, -odds)  # (thresholds, n)
    benefit: NDArray[np.float64] = (treated * gained) @ weights / weights.sum(axis=0)
    return benefit
