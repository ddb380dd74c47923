"""Softmax regression with an elastic net on plain arrays: a classifier like any other of scikit-learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from aggregate.models.base import Arrays, Labels, encode_labels, seed_of, softmax
from aggregate.models.elastic_net import Floats, Problems, solve

_MIDDLING_STRENGTH = 1e-2


@dataclass(kw_only=True, eq=False, repr=False)
class SoftmaxRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Multinomial logistic regression on standardised features, its penalty chosen by cross-validated log loss.

    What is missing (NaN) takes the mean of the training rows. A row of weight 2 counts as two rows wherever the
    inner folds are not drawn: they deal rows.
    """

    strengths: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0)
    """Values of C to choose from; smaller means more regularised."""
    l1_shares: Sequence[float] = (0.0,)
    """Shares of the L1 norm in the penalty to choose from: 0 is ridge, 1 is lasso."""
    inner_folds: int = 5
    """Folds of the choice, fewer where the rarest class has fewer rows."""
    class_weight: Literal["balanced"] | Mapping[Any, float] | None = None
    """Weigh classes inversely to their weight in training, by given numbers, or not."""
    random_state: int | None = None
    """Seed of the inner folds; None draws one."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X (n, d), labels y (n,) and weights (n,), 1 where none are given.

        Raises:
            FoldError: fewer than two classes have a row of weight above 0.
            ValueError: the arrays do not go together or hold what they must not; scikit-learn words it.
        """
        vectors, labels = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        check_classification_targets(labels)
        given = _checked_weights(sample_weight, vectors)
        is_used = given > 0
        given, vectors = given[is_used], vectors[is_used]
        self.classes_, codes = encode_labels(labels[is_used])
        self.mean_, self.std_ = _mean_and_std(vectors, given)
        features = self._standardised(vectors)
        self.strength_, self.l1_share_ = self._best_penalty(features, codes, given)
        problem = Problems(
            weights=self._balanced(codes, given)[None],
            strengths=np.array([self.strength_]),
            l1_shares=np.array([self.l1_share_]),
        )
        weights, bias = solve(features, codes, len(self.classes_), problem)
        self.weights_, self.bias_ = weights[0], bias[0]
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return class probabilities (n, classes)."""
        check_is_fitted(self, "classes_")
        vectors = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return softmax(self._standardised(vectors) @ self.weights_ + self.bias_)

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable class of each row (n,)."""
        probabilities = self.predict_proba(X)
        return cast("Labels", self.classes_[probabilities.argmax(axis=1)])

    def learned_arrays(self) -> Arrays:
        """Return scaling, weights (d, classes) and bias (classes,)."""
        return {"mean": self.mean_, "std": self.std_, "weights": self.weights_, "bias": self.bias_}

    def set_learned_arrays(self, classes: Labels, arrays: Arrays) -> None:
        """Take over the classes, and what `learned_arrays` returned."""
        self.classes_ = classes
        self.mean_, self.std_ = arrays["mean"], arrays["std"]
        self.weights_, self.bias_ = arrays["weights"], arrays["bias"]
        self.n_features_in_ = len(self.mean_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _standardised(self, vectors: Floats) -> Floats:
        standardised: Floats = np.nan_to_num((vectors - self.mean_) / self.std_, nan=0.0)
        return standardised

    def _best_penalty(self, features: Floats, codes: NDArray[np.intp], given: Floats) -> tuple[float, float]:
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
        fold_weights = np.stack([self._balanced(codes, given * ~out) for out in held_out])  # (folds, n)
        strengths, l1_shares = np.array(grid).T  # (penalties,)
        problems = Problems(
            weights=np.repeat(fold_weights, len(grid), axis=0),  # (folds x penalties, n)
            strengths=np.tile(strengths, n_folds),
            l1_shares=np.tile(l1_shares, n_folds),
        )
        # Penalties a power of ten apart: what a tenth of the precision leaves open does not change the choice.
        weights, biases = solve(features, codes, len(self.classes_), problems, tolerance=1e-2)
        logits = (features @ weights + biases[:, None]).reshape(n_folds, len(grid), len(codes), -1)
        of_truth = softmax(logits)[:, :, np.arange(len(codes)), codes]  # (folds, penalties, n)
        losses = -(np.log(of_truth + 1e-12) * (held_out * given)[:, None]).sum(axis=(0, 2))  # (penalties,)
        return grid[int(losses.argmin())]

    def _balanced(self, codes: NDArray[np.intp], given: Floats) -> Floats:
        """Return the weight of each row (n,): the one given to it times that of its class."""
        if self.class_weight is None:
            return given
        if self.class_weight == "balanced":
            totals = np.bincount(codes, weights=given, minlength=len(self.classes_))  # (classes,)
            # A class without a row of weight weighs nothing, whatever stands here.
            of_class = given.sum() / (len(totals) * np.where(totals > 0, totals, 1))
        else:
            of_class = np.array([self.class_weight.get(label, 1.0) for label in self.classes_.tolist()])
        return cast("Floats", given * of_class[codes])


def _checked_weights(sample_weight: ArrayLike | None, vectors: Floats) -> Floats:
    """Return the weights as float64 (n,).

    Raises:
        ValueError: not one finite weight per row, or one below 0, or none above 0.
    """
    if sample_weight is None:
        return np.ones(len(vectors))
    weights = check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight")
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, found shape {weights.shape}")
    check_consistent_length(vectors, weights)
    if (weights < 0).any() or not weights.any():
        raise ValueError(
            f"expected no sample weight below zero and one above; the least is {weights.min():g}"
        )
    return cast("Floats", weights)


def _mean_and_std(vectors: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weighted mean and standard deviation (d,) of what is there; 0 and 1 for what nobody has."""
    shares = weights[:, None] * ~np.isnan(vectors)  # (n, d)
    total = shares.sum(axis=0)
    total[total == 0] = 1
    mean = (np.nan_to_num(vectors) * shares).sum(axis=0) / total
    std = np.sqrt((np.nan_to_num(vectors - mean) ** 2 * shares).sum(axis=0) / total)
    std[std <= 1e-9 * np.abs(mean)] = 1
    return mean, std
