"""Gradient-boosted trees (XGBoost) on statistics of each phase."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xgboost
from numpy.typing import NDArray

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, seed_of
from aggregate.models.class_codes import balanced_weights, codes_among, encode_labels
from aggregate.models.parameters import ClassWeight, Count, Positive, PositiveShare, StatisticName
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from aggregate.models.views import CovariateColumns, SeenBags
from pipeline.errors import ResultsError

_TREES = "model.json"


@dataclass(kw_only=True, eq=False, repr=False)
class XGBoost(BagEstimator):
    """XGBoost on pooled features; a missing phase is passed to the trees as missing values."""

    kind: ClassVar[str] = "xgboost"

    statistics: tuple[StatisticName, ...] = ("mean", "max", "std")
    """Statistics of each feature over the slices of each phase."""
    differences: bool = False
    """Add the differences between the mean features of every pair of phases."""
    rounds: Count = 200
    """Largest number of boosting rounds."""
    patience: Count = 20
    """Rounds without a lower tuning loss after which boosting stops."""
    learning_rate: Positive = 0.1
    """Shrinkage of each tree."""
    max_depth: Count = 3
    """Maximum depth of a tree."""
    features_per_tree: PositiveShare = 0.1
    """Share of the features that a tree may use."""
    patients_per_tree: PositiveShare = 0.8
    """Share of the training patients that each tree is trained on."""
    class_weight: ClassWeight = "balanced"
    """Whether classes are weighted inversely to their number of training patients."""
    bins: Count = 16
    """Histogram bins per feature. XGBoost sums over the bins of all features at each level of a tree: with its default
    of 256, a fit of a hundred patients takes six times as long, at the same out-of-fold AUC."""
    threads: Count = 1
    """CPU threads of one fit; other folds run in parallel."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table used in addition to the bags."""

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train on `bags` with early stopping on `tune`."""
        self.classes_, codes = encode_labels(labels)
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        weights = balanced_weights(codes, len(self.classes_))
        train = self._matrix(bags, codes, weights)
        watched = (
            [] if tune is None else [self._matrix(tune[0], codes_among(self.classes_, tune[1]), weights)]
        )
        self.booster_ = xgboost.train(
            self._settings(),
            train,
            num_boost_round=self.rounds,
            evals=[(matrix, "tune") for matrix in watched],
            early_stopping_rounds=self.patience if watched else None,
            verbose_eval=False,
        )
        if watched:
            self.booster_ = self.booster_[: self.booster_.best_iteration + 1]

    def _predict_proba(self, bags: SeenBags) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes)."""
        raw = self.booster_.predict(self._matrix(bags)).astype(np.float64)
        probabilities: NDArray[np.float64] = raw / raw.sum(axis=1, keepdims=True)
        return probabilities

    def save(self, folder: Path) -> None:
        """Write the fitted model as config.json and XGBoost's own model.json."""
        super().save(folder)
        # As bytes: an error of XGBoost's own file writing, such as a full disk, does not name the file.
        (folder / _TREES).write_bytes(self.booster_.save_raw("json"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote.

        Raises:
            ResultsError: the folder holds no such model, or one of another kind or version.
        """
        model = super().load(folder)
        try:
            model.booster_ = xgboost.Booster({"nthread": model.threads}, model_file=folder / _TREES)
        except xgboost.core.XGBoostError as error:
            raise ResultsError(f"{folder / _TREES}: does not hold the trees of a saved model") from error
        return model

    def n_parameters(self) -> None:
        """Return nothing: trees have no such number."""

    def learned_arrays(self) -> Arrays:
        """Return the words of each covariate; the trees are saved in model.json."""
        return {"covariates": self.covariate_columns_.as_array()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the words of each covariate; the trees are read from model.json."""
        self.covariate_columns_ = CovariateColumns.of_array(arrays["covariates"])

    def _settings(self) -> dict[str, Any]:
        return {
            "objective": "multi:softprob",
            "eval_metric": "mlogloss",
            "num_class": len(self.classes_),
            "eta": self.learning_rate,
            "max_depth": self.max_depth,
            "colsample_bytree": self.features_per_tree,
            "subsample": self.patients_per_tree,
            "tree_method": "hist",
            "max_bin": self.bins,
            "seed": seed_of(self.random_state) % 2**31,
            "nthread": self.threads,
        }

    def _matrix(
        self,
        bags: SeenBags,
        codes: NDArray[np.intp] | None = None,
        class_weights: NDArray[np.float64] | None = None,
    ) -> xgboost.DMatrix:
        pool = pool_phases_and_differences if self.differences else pool_phases
        columns = self.covariate_columns_.columns(bags.patients)
        features = np.hstack([pool(bags, self.statistics), columns]).astype(np.float32)
        weight = None
        if codes is not None and class_weights is not None and self.class_weight == "balanced":
            weight = class_weights[codes]
        return xgboost.DMatrix(features, label=codes, weight=weight, nthread=self.threads)
