"""Logistic regression on one vector per bag: a pooling, and softmax regression on what it returns."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune
from aggregate.models.elastic_net import Floats
from aggregate.models.parameters import AtLeastTwo, ClassWeight, Positives, Shares
from aggregate.models.softmax_regression import SoftmaxRegression
from pipeline.bags import Bag


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
        self.classifier_ = self._new_classifier().fit(self.vectors(bags), labels)
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, bags: Sequence[Bag]) -> Floats:
        """Return class probabilities (bags, classes)."""
        self.check_fitted()
        return self.classifier_.predict_proba(self.vectors(bags))

    def learned_arrays(self) -> Arrays:
        """Return scaling, weights (d, classes) and bias (classes,)."""
        return self.classifier_.learned_arrays()

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over scaling, weights and bias."""
        self.classifier_ = self._new_classifier()
        self.classifier_.set_learned_arrays(self.classes_, arrays)

    def _new_classifier(self) -> SoftmaxRegression:
        return SoftmaxRegression(
            strengths=self.strengths,
            l1_shares=self.l1_shares,
            inner_folds=self.inner_folds,
            class_weight="balanced" if self.class_weight == "balanced" else None,
            random_state=self.random_state,
        )
