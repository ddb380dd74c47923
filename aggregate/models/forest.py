"""Random forest on statistics of each phase and on the differences between phases."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, seed_of
from aggregate.models.class_codes import encode_labels
from aggregate.models.parameters import ClassWeight, Count, StatisticName
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from aggregate.models.views import CovariateColumns, SeenBags


@dataclass(kw_only=True, eq=False, repr=False)
class RandomForest(BagEstimator):
    """scikit-learn's random forest on pooled features; a missing phase is passed to the trees as missing values."""

    kind: ClassVar[str] = "random_forest"

    statistics: tuple[StatisticName, ...] = ("mean", "max", "std")
    """Statistics of each feature over the slices of each phase."""
    differences: bool = True
    """Add the differences between the mean features of every pair of phases."""
    trees: Count = 300
    """Number of trees."""
    patients_per_leaf: Count = 2
    """Smallest number of patients in a leaf."""
    class_weight: ClassWeight = "balanced"
    """Whether classes are weighted inversely to their number of training patients."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table used in addition to the bags."""

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train on `bags`; `tune` is not used."""
        del tune
        self.classes_, codes = encode_labels(labels)
        forest = RandomForestClassifier(
            n_estimators=self.trees,
            min_samples_leaf=self.patients_per_leaf,
            class_weight="balanced" if self.class_weight == "balanced" else None,
            random_state=seed_of(self.random_state) % 2**32,
            n_jobs=1,
        )
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        self.forest_ = forest.fit(self._vectors(bags), codes)

    def _predict_proba(self, bags: SeenBags) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes): the class shares in the leaves, averaged over the trees."""
        probabilities: NDArray[np.float64] = self.forest_.predict_proba(self._vectors(bags))
        return probabilities

    is_savable = False
    """scikit-learn's trees can only be saved as a pickle, or in files whose indices are not checked when they are read."""

    def n_parameters(self) -> None:
        """Return nothing: trees have no such number."""

    def learned_arrays(self) -> Arrays:
        """Return nothing; a forest is not saved."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore nothing; a forest is not saved."""

    def _vectors(self, bags: SeenBags) -> NDArray[np.float32]:
        pool = pool_phases_and_differences if self.differences else pool_phases
        columns = self.covariate_columns_.columns(bags.patients)
        return np.hstack([pool(bags, self.statistics), columns]).astype(np.float32)
