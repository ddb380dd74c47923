"""Gradient-boosted trees (XGBoost) for an outcome, on statistics of each phase and covariates."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xgboost

from aggregate.models.base import Arrays, Labels, Tune
from aggregate.models.boosting import XGBoost
from aggregate.models.parameters import Count
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from aggregate.models.views import CovariateColumns, SeenBags
from aggregate.outcomes.models.base import BagOutcomeEstimator, Floats
from aggregate.outcomes.models.outputs import OrdinalOutput, RegressionOutput, ScoreOutput, SurvivalOutput
from aggregate.outcomes.outcome import Values


@dataclass(kw_only=True, eq=False, repr=False)
class BoostedOutcome(BagOutcomeEstimator, XGBoost):
    """XGBoost on pooled features; a missing phase is passed to the trees as missing values.

    The defaults are those of the higher C-index on two phantom cohorts (seeds 1 and 2): .69, against .66 with a depth of 3 and
    without differences. An accelerated failure time in the place of Cox's likelihood reached as much (.68 and .67 at depth 2).
    """

    not_read: ClassVar[frozenset[str]] = frozenset({"class_weight"})

    differences: bool = True
    """Add the differences between the mean features of every pair of phases."""
    max_depth: Count = 2
    """Maximum depth of a tree."""

    @abstractmethod
    def targets(self, values: Values) -> Floats:
        """Return the outcomes as XGBoost takes them (n,) or (n, outputs)."""

    @abstractmethod
    def objective(self) -> dict[str, Any]:
        """Return objective and metric of XGBoost."""

    def grow(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> Floats:
        """Train on `bags` with early stopping on `tune`; return the scores of the training patients."""
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        train = self._data(bags, self.targets(labels))
        watched = [] if tune is None else [(self._data(tune[0], self.targets(tune[1])), "tune")]
        booster = xgboost.train(
            {**self._settings(), **self.objective()},
            train,
            num_boost_round=self.rounds,
            evals=watched,
            early_stopping_rounds=self.patience if watched else None,
            verbose_eval=False,
        )
        self.booster_ = booster[: booster.best_iteration + 1] if watched else booster
        return self._margins(train)

    def scores(self, bags: SeenBags) -> Floats:
        """Return the sums of the trees."""
        return self._margins(self._data(bags))

    def _margins(self, matrix: xgboost.DMatrix) -> Floats:
        return np.asarray(self.booster_.predict(matrix, output_margin=True), dtype=np.float64)

    def _settings(self) -> dict[str, Any]:
        self.classes_ = np.arange(0)
        of_classes = {"objective", "eval_metric", "num_class"}
        return {name: value for name, value in super()._settings().items() if name not in of_classes}

    def _data(self, bags: SeenBags, targets: Floats | None = None) -> xgboost.DMatrix:
        pool = pool_phases_and_differences if self.differences else pool_phases
        columns = self.covariate_columns_.columns(bags.patients)
        features = np.hstack([pool(bags, self.statistics), columns]).astype(np.float32)
        return xgboost.DMatrix(features, label=targets, nthread=self.threads)


@dataclass(kw_only=True, eq=False, repr=False)
class BoostedScore(BoostedOutcome, ScoreOutput):
    """Trees whose sum is a score."""

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        self.learn_output(self.grow(bags, labels, tune), labels)

    def _predict_proba(self, bags: SeenBags) -> Floats:
        return self.columns_of(self.scores(bags))

    def learned_arrays(self) -> Arrays:
        """Return the words of each covariate, and what makes columns of a score; the trees are saved in model.json."""
        return {**super().learned_arrays(), **self.marked_output()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore what `learned_arrays` returned."""
        super().set_learned_arrays(self.unmarked_output(arrays))


@dataclass(kw_only=True, eq=False, repr=False)
class BoostedSurvival(BoostedScore, SurvivalOutput):
    """XGBoost with Cox's partial likelihood, ties by Breslow."""

    kind: ClassVar[str] = "boosted_survival"

    def targets(self, values: Values) -> Floats:
        """Return the times, negative where censored, as XGBoost takes them."""
        return np.where(values["event"], values["time"], -values["time"])

    def objective(self) -> dict[str, Any]:
        """Return Cox's."""
        return {"objective": "survival:cox", "eval_metric": "cox-nloglik"}


@dataclass(kw_only=True, eq=False, repr=False)
class BoostedRegression(BoostedScore, RegressionOutput):
    """XGBoost with the squared error of the standardised number."""

    kind: ClassVar[str] = "boosted_regression"

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        self.standardised(labels)
        super()._fit(bags, labels, tune)

    def targets(self, values: Values) -> Floats:
        """Return the standardised numbers."""
        return self.restandardised(values)

    def objective(self) -> dict[str, Any]:
        """Return the squared error."""
        return {"objective": "reg:squarederror", "eval_metric": "rmse", "base_score": 0.0}


@dataclass(kw_only=True, eq=False, repr=False)
class BoostedOrdinal(BoostedOutcome, OrdinalOutput):
    """XGBoost on each threshold: the probability of a grade above it (Frank and Hall: A simple approach to ordinal classification, 2001).

    Where these do not fall with the threshold, the lower one counts.
    """

    kind: ClassVar[str] = "boosted_ordinal"

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        self.shares(labels)
        self.grow(bags, labels, tune)

    def _predict_proba(self, bags: SeenBags) -> Floats:
        margins = self.scores(bags).reshape(len(bags), self.grades - 1)
        above = np.minimum.accumulate(1 / (1 + np.exp(-margins)), axis=1)
        ends = np.ones((len(above), 1)), np.zeros((len(above), 1))
        return -np.diff(np.hstack([ends[0], above, ends[1]]), axis=1)

    def targets(self, values: Values) -> Floats:
        """Return whether the grade is above each threshold (n, grades - 1)."""
        return (values[:, None] > np.arange(self.grades - 1)).astype(np.float64)

    def objective(self) -> dict[str, Any]:
        """Return a logistic loss of each threshold."""
        return {"objective": "binary:logistic", "eval_metric": "logloss"}
