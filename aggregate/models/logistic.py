"""Logistic regression on one vector per bag, its strength chosen within the training patients."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from aggregate.models.base import (
    Arrays,
    BagEstimator,
    Labels,
    Tune,
    balanced_weights,
    encode_labels,
    seed_of,
    softmax,
)
from aggregate.models.elastic_net import Floats, Problems, solve
from aggregate.models.parameters import AtLeastTwo, ClassWeight, Positives, Shares
from pipeline.bags import Bag

_MIDDLING_STRENGTH = 1e-2


@dataclass(kw_only=True, eq=False, repr=False)
class BagLogistic(BagEstimator):
    """Multinomial logistic regression with an elastic net on a standardised vector per bag.

    What is missing (NaN) takes the mean of the training patients.
    """

    strengths: Positives = (1e-3, 1e-2, 1e-1, 1.0)
    """Values of C to choose from by cross-validation of the log loss; smaller means more regularised."""
    l1_shares: Shares = (0.0,)
    """Shares of the L1 norm in the penalty to choose from: 0 is ridge, 1 is lasso."""
    inner_folds: AtLeastTwo = 5
    """Folds of that cross-validation, fewer where the rarest class has fewer training patients."""
    class_weight: ClassWeight = "balanced"
    """Weigh classes inversely to their number of training patients, or not."""

    @abstractmethod
    def vectors(self, bags: Sequence[Bag]) -> Floats:
        """Return one vector per bag (bags, d), NaN where something is missing."""

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Train on `bags`; `tune` is not needed."""
        del tune
        self.classes_, codes = encode_labels(labels)
        vectors = self.vectors(bags)  # (bags, d)
        self.mean_, self.std_ = _mean_and_std(vectors)
        features = self._standardised(vectors)
        self.strength_, self.l1_share_ = self._best_penalty(features, codes)
        problem = Problems(
            weights=self._sample_weights(codes, np.ones(len(codes), dtype=np.bool_))[None],
            strengths=np.array([self.strength_]),
            l1_shares=np.array([self.l1_share_]),
        )
        weights, bias = solve(features, codes, len(self.classes_), problem)
        self.weights_, self.bias_ = weights[0], bias[0]
        return self

    def predict_proba(self, bags: Sequence[Bag]) -> Floats:
        """Return class probabilities (bags, classes)."""
        self.check_fitted()
        return softmax(self._standardised(self.vectors(bags)) @ self.weights_ + self.bias_)

    def learned_arrays(self) -> Arrays:
        """Return scaling, weights (d, classes) and bias (classes,)."""
        return {"mean": self.mean_, "std": self.std_, "weights": self.weights_, "bias": self.bias_}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over scaling, weights and bias."""
        self.mean_, self.std_ = arrays["mean"], arrays["std"]
        self.weights_, self.bias_ = arrays["weights"], arrays["bias"]

    def _standardised(self, vectors: Floats) -> Floats:
        standardised: Floats = np.nan_to_num((vectors - self.mean_) / self.std_, nan=0.0)
        return standardised

    def _best_penalty(self, features: Floats, codes: NDArray[np.intp]) -> tuple[float, float]:
        """Return the strength and the L1 share of the lowest log loss on the held-out inner folds."""
        grid = list(product(self.strengths, self.l1_shares))
        n_folds = min(self.inner_folds, int(np.bincount(codes).min()))
        if len(grid) == 1:
            return grid[0]
        if n_folds < 2:
            return min(grid, key=lambda pair: abs(np.log(pair[0] / _MIDDLING_STRENGTH)))
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed_of(self.random_state))
        held_out = np.zeros((n_folds, len(codes)), dtype=np.bool_)
        for fold, (_, numbers) in enumerate(splitter.split(features, codes)):
            held_out[fold, numbers] = True
        sample_weights = np.stack([self._sample_weights(codes, ~out) for out in held_out])  # (folds, n)
        strengths, l1_shares = np.array(grid).T  # (penalties,)
        problems = Problems(
            weights=np.repeat(sample_weights, len(grid), axis=0),  # (folds x penalties, n)
            strengths=np.tile(strengths, n_folds),
            l1_shares=np.tile(l1_shares, n_folds),
        )
        weights, biases = solve(features, codes, len(self.classes_), problems)
        logits = (features @ weights + biases[:, None]).reshape(n_folds, len(grid), len(codes), -1)
        of_truth = softmax(logits)[:, :, np.arange(len(codes)), codes]  # (folds, penalties, n)
        losses = -(np.log(of_truth + 1e-12) * held_out[:, None]).sum(axis=(0, 2))  # (penalties,)
        return grid[int(losses.argmin())]

    def _sample_weights(self, codes: NDArray[np.intp], is_used: NDArray[np.bool_]) -> Floats:
        """Return the weight of each patient (n,), 0 where it is not used."""
        if self.class_weight == "none":
            return is_used.astype(np.float64)
        of_class = balanced_weights(codes[is_used], len(self.classes_))
        return np.where(is_used, of_class[codes], 0.0)


def _mean_and_std(vectors: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation (d,) of what is there; 0 and 1 for what nobody has."""
    there = ~np.isnan(vectors)
    n = np.maximum(there.sum(axis=0), 1)
    mean = np.nansum(vectors, axis=0) / n
    std = np.sqrt(np.nansum((vectors - mean) ** 2, axis=0) / n)
    std[std <= 1e-9 * np.abs(mean)] = 1
    return mean, std
