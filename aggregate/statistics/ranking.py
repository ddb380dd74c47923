"""Areas under curves of ranked patients, for many weightings of the patients at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_BLOCK_PAIRS = 1 << 22
"""Pairs of a positive and a negative that are held at once: 32 MiB."""


def mean_auc(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area under the ROC curve, averaged over the repeats: P(a positive scores more than a negative), ties 1/2.

    The area is linear in the comparisons of positives with negatives, so these are averaged over the repeats
    first and every draw is one product with them: positives x negatives x draws multiplications, however many
    repeats.

    Args:
        scores: float64 (repeats, n).
        is_positive: bool (n,).
        weights: float64 (n, draws), not negative.

    Returns:
        float64 (draws,); NaN where the positives or the negatives weigh nothing.
    """
    of_positives, of_negatives = weights[is_positive], weights[~is_positive]
    won = np.zeros(weights.shape[1])
    for rows, wins in _wins(scores, is_positive):
        won += np.einsum("pd,pd->d", of_positives[rows], wins @ of_negatives)
    return ratio(won, of_positives.sum(axis=0) * of_negatives.sum(axis=0))


def placements(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each patient stands among the other side: the structural components of DeLong et al. 1988.

    Args:
        scores: float64 (repeats, n); averaged over the repeats.
        is_positive: bool (n,).

    Returns:
        float64 (positives,), the share of negatives below each positive, and float64 (negatives,), the share of
        positives above each negative; ties count one half. The mean of either is the AUC.
    """
    n_negatives = int((~is_positive).sum())
    of_positives = np.zeros(len(is_positive) - n_negatives)
    above_negatives = np.zeros(n_negatives)
    for rows, wins in _wins(scores, is_positive):
        of_positives[rows] = wins.mean(axis=1)
        above_negatives += wins.sum(axis=0)
    return of_positives, above_negatives / len(of_positives)


def _wins(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of positives and, as (block, negatives), in what share of the repeats each scores more."""
    positives, negatives = scores[:, is_positive], scores[:, ~is_positive]
    block = max(1, _BLOCK_PAIRS // max(1, negatives.shape[1]))
    for start in range(0, positives.shape[1], block):
        rows = slice(start, start + block)
        signs = np.zeros((positives[:, rows].shape[1], negatives.shape[1]))
        for of_positives, of_negatives in zip(positives[:, rows], negatives, strict=True):
            signs += np.sign(of_positives[:, None] - of_negatives[None, :])
        yield rows, (signs / len(scores) + 1) / 2


def average_precision(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Precision at the score of each positive, averaged over the positives.

    Args:
        scores: float64 (n,).
        is_positive: bool (n,).
        weights: float64 (n, draws), not negative.

    Returns:
        float64 (draws,); NaN where the positives weigh nothing.
    """
    order = np.argsort(-scores, kind="stable")
    descending, is_positive, weights = -scores[order], is_positive[order], weights[order]
    of_positives = weights[is_positive]
    thresholds = descending[is_positive]
    called = _running_sum(weights)[np.searchsorted(descending, thresholds, "right")]  # (positives, draws)
    right = _running_sum(of_positives)[np.searchsorted(thresholds, thresholds, "right")]
    precision = ratio(right, called, empty=0.0)
    return ratio(np.einsum("pd,pd->d", of_positives, precision), of_positives.sum(axis=0))


def _running_sum(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum along axis 0 with a leading row of zeros: row k holds the sum of the first k rows."""
    sums = np.zeros((len(weights) + 1, *weights.shape[1:]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], *, empty: float = np.nan
) -> NDArray[np.float64]:
    """Divide where there is something to divide by; `empty` stands elsewhere."""
    quotient: NDArray[np.float64] = np.full(np.broadcast(above, below).shape, empty)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
