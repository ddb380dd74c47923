"""Logistic regression on one vector per bag, its strength chosen within the training patients."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.linear_model import LogisticRegression
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
from pipeline.bags import Bag

_MIDDLING_STRENGTH = 1e-2


@dataclass(kw_only=True, eq=False, repr=False)
class BagLogistic(BagEstimator):
    """L2-regularised multinomial logistic regression on a standardised vector per bag.

    What is missing (NaN) takes the mean of the training patients.
    """

    strengths: tuple[Annotated[float, Field(gt=0)], ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Values of C to choose from by cross-validation of the log loss; smaller means more regularised."""
    inner_folds: Annotated[int, Field(ge=2)] = 5
    """Folds of that cross-validation, fewer where the rarest class has fewer training patients."""
    class_weight: Literal["balanced", "none"] = "balanced"
    """Weigh classes inversely to their number of training patients, or not."""

    @abstractmethod
    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return one vector per bag (bags, d), NaN where something is missing."""

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Train on `bags`; `tune` is not needed."""
        del tune
        self.classes_, codes = encode_labels(labels)
        vectors = self.vectors(bags)  # (bags, d)
        self.mean_, self.std_ = _mean_and_std(vectors)
        features = self._standardised(vectors)
        self.strength_ = self._best_strength(features, codes)
        self.weights_, self.bias_ = self._solve(features, codes, self.strength_)
        return self

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
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

    def _standardised(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        standardised: NDArray[np.float64] = np.nan_to_num((vectors - self.mean_) / self.std_, nan=0.0)
        return standardised

    def _best_strength(self, features: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
        if len(self.strengths) == 1:
            return self.strengths[0]
        n_folds = min(self.inner_folds, int(np.bincount(codes).min()))
        if n_folds < 2:
            return min(self.strengths, key=lambda strength: abs(np.log(strength / _MIDDLING_STRENGTH)))
        losses = np.zeros(len(self.strengths))
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed_of(self.random_state))
        for train, held_out in folds.split(features, codes):
            for number, strength in enumerate(self.strengths):
                weights, bias = self._solve(features[train], codes[train], strength)
                probabilities = softmax(features[held_out] @ weights + bias)
                of_truth = probabilities[np.arange(len(held_out)), codes[held_out]]
                losses[number] -= np.log(of_truth + 1e-12).sum()
        return self.strengths[int(losses.argmin())]

    def _solve(
        self, features: NDArray[np.float64], codes: NDArray[np.intp], strength: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights (d, classes) and bias (classes,) of the softmax that minimises the penalised loss."""
        weights = None
        if self.class_weight == "balanced":
            weights = balanced_weights(codes, len(self.classes_))[codes]
        model = LogisticRegression(C=strength, max_iter=1000).fit(features, codes, sample_weight=weights)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(coefficients) == 1:  # two classes: scikit-learn keeps the logit of the second only
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([[0.0], intercepts])
        return np.ascontiguousarray(coefficients.T), intercepts


def _mean_and_std(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (d,) of what is there; 0 and 1 for what nobody has."""
    there = ~np.isnan(vectors)
    n = np.maximum(there.sum(axis=0), 1)
    mean = np.nansum(vectors, axis=0) / n
    std = np.sqrt(np.nansum((vectors - mean) ** 2, axis=0) / n)
    std[std <= 1e-9 * np.abs(mean)] = 1
    return mean, std
