"""What models trained on each other's test patients add to the error of a cross-validated metric."""

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.measures import brier_losses
from aggregate.statistics.resamples import Sample

_ALIKE = 1e-15
_CORRELATIONS = np.linspace(0, 1, 201)


def trained_sample(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    fold: NDArray[np.intp],
    weights: NDArray[np.float64],
) -> Sample:
    """Return the resampled patients with the design effect of a model, told by its Brier loss for every metric.

    A proper score sees every change of a probability. The effect on a single sensitivity, which sees only the
    changes that cross a border, would be told half as well.

    Args:
        labels: intp (n,).
        probabilities: float64 (repeats, n, classes), out of fold.
        fold: intp (repeats, n).
        weights: float64 (n, 1 + draws), as `draw_resamples` returns.
    """
    return Sample(labels, weights, design_effect(brier_losses(labels, probabilities), labels, fold))


def design_effect(
    losses: NDArray[np.float64], labels: NDArray[np.intp], fold: NDArray[np.intp]
) -> float | None:
    """Variance of a cross-validated mean over what it would be if the patients were independent, from 1 to 2.25.

    A resample of out-of-fold predictions takes the patients as independent. They are not: two patients of
    different folds train each other's models, and one who is unlike the others spoils the prediction of whoever
    resembles him, and the other way round. With h(j, k) the change of the loss of j when k is trained on, the mean
    over n patients has the variance sigma^2 / n + E h(j, k) h(k, j) (Hoeffding's decomposition to second order;
    the covariance between folds of Bengio and Grandvalet 2004, which Bates, Hastie and Tibshirani 2024 show to
    make the usual intervals too short). One cross-validation cannot tell it, several can, in two parts.

    How much training moves a patient: the variance of a loss between the repeats is n p (1 - p) E h(j, k)^2, p the
    share of the pairs in one fold. It is known well, from n patients. How mutual that is: the correlation
    of h(j, k) with h(k, j), see `_mutuality`. It is known badly, but lies between 0 and 1: 0 where the
    repeats differ by the noise of the fits, 1 for losses that are minimised exactly, whose influence functions
    are symmetric. Noise that all patients of a fit share counts as mutual, and noise of each patient's own, which the
    first part does not tell from influence, counts in part while the repeats are few.

    An unstable model, such as one without a signal whose penalty is chosen anew in every fit, would be given an effect
    of 5 to 10 where the truth is near 2. So it is at most 1 + K / (K - 1) for K folds, 2.25 for five: what Nadeau and Bengio 2003
    take the folds to share, n_test / n of their variance (measured in benchmarks/coverage.py, setting `tuned`).

    Args:
        losses: float64 (repeats, n), the loss of each patient by the model that did not see it, or the difference
            of two models' losses.
        labels: intp (n,); the classes keep their sizes.
        fold: intp (repeats, n).

    Returns:
        None where it cannot be told: with one repeat, or with no two patients in a fold. 1 where all are tested
        together, so that none trains another's model.
    """
    repeats, n = losses.shape
    p = _pairs_together(fold)
    if repeats < 2 or p == 0:
        return None
    if p == 1:
        return 1.0
    independent = _variance_of_mean(losses.mean(axis=0), labels)
    moved = float(np.var(losses, axis=0, ddof=1).mean())
    if independent < _ALIKE or moved < _ALIKE:
        return 1.0
    # Of E h(j, k)^2 the share (1 - p)^2 + p (1 - p) / repeats is left in a mean over the repeats.
    if_mutual = moved * (1 - p + p / repeats) / (n * p)
    told = 1 + _mutuality(losses, fold, moved, p) * if_mutual / independent
    n_folds = np.mean([len(np.unique(of_repeat)) for of_repeat in fold])
    return float(min(told, 1 + n_folds / (n_folds - 1)))


def _mutuality(losses: NDArray[np.float64], fold: NDArray[np.intp], moved: float, p: float) -> float:
    """Correlation of h(j, k) with h(k, j), between 0 and 1: what to expect of it after seeing the losses.

    In the repeats where j and k share a fold, and only there, neither is trained on the other. So their deviations
    from their own means over the repeats, multiplied where they share a fold, have the expectation
    E h(j, k) h(k, j) times a known factor, and the noise of each patient cancels there. What noise is left
    depends on the repeats and the folds alone, whatever the patients or the model: a standard deviation of 0.4 with
    5 x 5, of 1.0 with 2 repeats x 4 folds. The value returned is the mean of the posterior
    that begins from equal chances of every correlation between 0 and 1.
    """
    repeats, n = losses.shape
    rest = (repeats - 1) * (1 - p) + p
    deviations = losses - losses.mean(axis=0)
    products = sum(
        float(np.sum(np.bincount(folds, own) ** 2) - np.sum(own**2))
        for folds, own in zip(fold, deviations, strict=True)
    )
    seen = products / (n * moved) * repeats / ((repeats - 1) * rest)
    # Of the products if none were mutual: of pairs in one fold once, and of those in one fold in two repeats.
    by_chance = np.sqrt(2 * p * repeats * (repeats - 1 + p) / (repeats - 1)) / rest
    squares = ((_CORRELATIONS - seen) / by_chance) ** 2 / 2
    return float(np.average(_CORRELATIONS, weights=np.exp(squares.min() - squares)))


def _pairs_together(fold: NDArray[np.intp]) -> float:
    """Share of the pairs of patients in the same fold, mean over the repeats."""
    n = int(fold.shape[1])
    same = [float(np.sum(sizes * (sizes - 1.0))) for sizes in map(np.bincount, fold)]
    return float(np.mean(same)) / max(1, n * (n - 1))


def _variance_of_mean(values: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    groups = [values[labels == label] for label in np.unique(labels)]
    total = sum(len(g) * float(np.var(g, ddof=1)) for g in groups if len(g) > 1)
    return float(total / len(values) ** 2)
