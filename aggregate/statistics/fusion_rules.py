"""Two models' word for one class, joined as clinicians do: positive if either says so, or only if both do.

The probabilities follow the rule exactly: a patient's most probable class is the class asked about if, and only if, the rule
calls the patient positive.
"""

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.printed_probabilities import as_printed

LEAST = 0.01
"""A probability below this counts as this in a product: of a hundred patients nobody knows a smaller one."""
_MARGIN = 1e-6
"""By how much the class asked about is above or below the others where the rule decides: more than printing rounds."""


def names_class(probabilities: NDArray[np.float64], positive: int) -> NDArray[np.bool_]:
    """Say whether a class is the most probable one (..., classes), as the tables print it, the first of equals."""
    return np.asarray(as_printed(probabilities).argmax(axis=-1) == positive)


def either_of(said: NDArray[np.float64], sees: NDArray[np.bool_], positive: int) -> NDArray[np.float64]:
    """Call positive who is named so by any model that sees the patient.

    The class asked about gets the largest of the probabilities of these models, and the other classes share the rest as in their
    mean; where that would contradict the rule, the class is set just above, or just below, the most probable of the others.

    Args:
        said: float64 (models, ..., n, classes), rows summing to 1.
        sees: bool (models, n), whether a model has data of the patient; of a patient nobody sees, all models are asked for the
            probabilities, and nobody names the class.
        positive: index of the class asked about.

    Returns:
        Class probabilities (..., n, classes).
    """
    votes = _shown(said, sees)
    named = np.any(names_class(said, positive) & votes & sees.any(axis=0), axis=0)
    highest = np.where(votes, said[..., positive], 0.0).max(axis=0)
    return _decided(said, votes, positive, np.asarray(named), highest)


def both_of(said: NDArray[np.float64], sees: NDArray[np.bool_], positive: int) -> NDArray[np.float64]:
    """Call positive who is seen by every model and named so by each; arguments as for `either_of`.

    The class asked about gets the smallest of the probabilities of the models that see the patient.
    """
    votes = _shown(said, sees)
    named = np.all(names_class(said, positive) & sees.reshape(_like(sees, said)), axis=0)
    lowest = np.where(votes, said[..., positive], 1.0).min(axis=0)
    return _decided(said, votes, positive, np.asarray(named), lowest)


def mean_of_seeing(
    said: NDArray[np.float64], sees: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the mean over the models that see each patient, or over all where none does (..., n, classes).

    Args:
        said: as for `either_of`.
        sees: as for `either_of`.
        weights: float64 (models,), of each model; equal by default.
    """
    shares = _shares(said, sees, weights)
    mean: NDArray[np.float64] = (said * shares[..., None]).sum(axis=0) / shares.sum(axis=0)[..., None]
    return mean


def product_of_seeing(
    said: NDArray[np.float64], sees: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the product over the models that see each patient, or over all where none does, divided by its sum.

    That is Bayes' rule for examinations that are independent within each class, with classes of equal prior. Arguments as for
    `mean_of_seeing`; a weight is an exponent.
    """
    shares = _shares(said, sees, weights)
    logs = (np.log(np.maximum(said, LEAST)) * shares[..., None]).sum(axis=0)
    powers: NDArray[np.float64] = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _shares(
    said: NDArray[np.float64], sees: NDArray[np.bool_], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the weight of each model on each patient (models, ..., n): 0 where it sees nothing, unless none does."""
    own = (np.ones(len(said)) if weights is None else weights).reshape(-1, *[1] * (said.ndim - 2))
    seeing = own * sees.reshape(_like(sees, said))
    return np.where(seeing.sum(axis=0) > 0, seeing, own)


def _like(sees: NDArray[np.bool_], said: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the shape in which (models, n) goes with (models, ..., n)."""
    return (len(sees), *[1] * (said.ndim - 3), sees.shape[1])


def _shown(said: NDArray[np.float64], sees: NDArray[np.bool_]) -> NDArray[np.bool_]:
    asked = np.where(sees.any(axis=0), sees, True)
    return np.broadcast_to(asked.reshape(_like(sees, said)), said.shape[:-1])


def _decided(
    said: NDArray[np.float64],
    votes: NDArray[np.bool_],
    positive: int,
    named: NDArray[np.bool_],
    wanted: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the class asked about the probability that is wanted, as far as the rule allows, and the others the rest."""
    mean = np.where(votes[..., None], said, 0.0).sum(axis=0) / votes.sum(axis=0)[..., None]
    others = np.delete(mean, positive, axis=-1)
    total = others.sum(axis=-1, keepdims=True)
    shares = np.where(total > 0, others / np.where(total > 0, total, 1.0), 1.0 / others.shape[-1])
    most = shares.max(axis=-1)
    even = most / (1 + most)  # where the class is as probable as the first of the others
    p = np.where(named, np.maximum(wanted, even + _MARGIN), np.minimum(wanted, even - _MARGIN))
    return np.insert(shares * (1 - p)[..., None], positive, p, axis=-1)
