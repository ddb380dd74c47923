"""Random forest on statistics of each phase and on the differences between phases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, encode_labels, seed_of
from aggregate.models.parameters import ClassWeight, Count, StatisticName
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from pipeline.bags import Bag


@dataclass(kw_only=True, eq=False, repr=False)
class RandomForest(BagEstimator):
    """scikit-learn's random forest, kept as arrays; a missing phase is missing to the trees too."""

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

    def fit(self, bags: Sequence[Bag], labels: Labels, *, tune: Tune | None = None) -> Self:
        """Grow the trees on `bags`; `tune` is not needed."""
        del tune
        self.classes_, codes = encode_labels(labels)
        forest = RandomForestClassifier(
            n_estimators=self.trees,
            min_samples_leaf=self.patients_per_leaf,
            class_weight="balanced" if self.class_weight == "balanced" else None,
            random_state=seed_of(self.random_state) % 2**32,
            n_jobs=1,
        ).fit(self._vectors(bags), codes)
        self.trees_ = _as_arrays(forest)
        return self

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes), the mean over the trees of the shares in the leaf."""
        self.check_fitted()
        vectors = self._vectors(bags)  # (bags, d)
        rows = np.arange(len(vectors))[:, None]
        trees = np.arange(len(self.trees_["left"]))
        node = np.zeros(
            (len(vectors), len(trees)), dtype=np.intp
        )  # (bags, trees), every walk starts at the root
        while True:
            left = self.trees_["left"][trees, node]
            is_inner = left >= 0
            if not is_inner.any():
                break
            value = vectors[rows, np.maximum(self.trees_["feature"][trees, node], 0)]
            goes_left = np.where(
                np.isnan(value),
                self.trees_["missing_goes_left"][trees, node] > 0,
                value <= self.trees_["threshold"][trees, node],
            )
            following = np.where(goes_left, left, self.trees_["right"][trees, node])
            node = np.where(is_inner, following, node)
        shares: NDArray[np.float64] = self.trees_["shares"][trees, node].mean(axis=1)
        return shares

    def learned_arrays(self) -> Arrays:
        """Return the trees, each array with an axis of trees and one of nodes."""
        return self.trees_

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over the trees."""
        self.trees_ = dict(arrays)

    def _vectors(self, bags: Sequence[Bag]) -> NDArray[np.float32]:
        pool = pool_phases_and_differences if self.differences else pool_phases
        return pool(bags, self.statistics).astype(np.float32)


def _as_arrays(forest: RandomForestClassifier) -> dict[str, NDArray[Any]]:
    """Return the nodes of all trees, padded to the largest tree; a leaf has no left child (-1)."""
    trees = [tree.tree_ for tree in forest.estimators_]
    shape = (len(trees), max(tree.node_count for tree in trees))
    arrays: dict[str, NDArray[Any]] = {
        "left": np.full(shape, -1, dtype=np.int32),
        "right": np.full(shape, -1, dtype=np.int32),
        "feature": np.zeros(shape, dtype=np.int32),
        "threshold": np.zeros(shape),
        "missing_goes_left": np.zeros(shape, dtype=np.uint8),
        "shares": np.zeros((*shape, len(forest.classes_))),
    }
    for number, tree in enumerate(trees):
        n = tree.node_count
        arrays["left"][number, :n] = tree.children_left
        arrays["right"][number, :n] = tree.children_right
        arrays["feature"][number, :n] = tree.feature
        arrays["threshold"][number, :n] = tree.threshold
        arrays["missing_goes_left"][number, :n] = tree.missing_go_to_left
        values = tree.value[:, 0]  # (nodes, classes)
        arrays["shares"][number, :n] = values / values.sum(axis=1, keepdims=True)
    return arrays
