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
    """scikit-learn's random forest; a missing phase is missing to the trees too."""

    kind: ClassVar[str] = "random_forest"

    statistics: tuple[StatisticName, ...] = ("mean", "max", "std")
    """Over the slices of each phase."""
    differences: bool = True
    """Add the differences between the means of every two phases."""
    trees: Count = 300
    """Number of trees."""
    patients_per_leaf: Count = 2
    """Patients that a leaf must hold."""
    class_weight: ClassWeight = "balanced"
    """Weigh classes inversely to their number of training patients, or not."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table to use beside the bags."""

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Grow the trees on `bags`; `tune` is not needed."""
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
        """Return class probabilities (bags, classes), the mean over the trees of the shares in the leaf."""
        probabilities: NDArray[np.float64] = self.forest_.predict_proba(self._vectors(bags))
        return probabilities

    is_savable = False
    """scikit-learn's trees can only be kept as a pickle, or in files whose indices nobody checks before they are used."""

    def learned_arrays(self) -> Arrays:
        """Return nothing; a forest is not saved."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take nothing; a forest is not saved."""

    def _vectors(self, bags: SeenBags) -> NDArray[np.float32]:
        pool = pool_phases_and_differences if self.differences else pool_phases
        columns = self.covariate_columns_.columns(bags.patients)
        return np.hstack([pool(bags, self.statistics), columns]).astype(np.float32)
