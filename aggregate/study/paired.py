"""The paired difference of two sets of out-of-fold predictions of the same patients."""

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.comparisons import Difference, paired_bootstrap
from aggregate.statistics.measures import brier_losses
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import design_effect
from aggregate.study.basis import StudyBasis


def paired_difference(
    basis: StudyBasis,
    draws: tuple[NDArray[np.float64], NDArray[np.float64]],
    losses: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Difference:
    """Compare two macro AUCs of the same patients.

    Args:
        basis: of the study.
        draws: the macro AUC on the cohort and its resamples (1 + draws,), of the first and of the second.
        losses: the Brier losses (repeats, n) of the first and of the second.
    """
    labels = basis.predictions.labels
    effect = design_effect(losses[0] - losses[1], labels, basis.predictions.fold)
    return paired_bootstrap(
        *draws,
        smallest_n=int(np.bincount(labels).min()),
        confidence=basis.statistics.confidence,
        sample=Sample(labels, basis.weights, effect),
    )


def losses_of(basis: StudyBasis, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Brier losses of out-of-fold probabilities (repeats, n, classes) as float64 (repeats, n)."""
    return brier_losses(basis.predictions.labels, probabilities)
