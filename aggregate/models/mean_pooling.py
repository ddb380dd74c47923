"""Logistic regression on the mean over all slices: the comparator of all other models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.models.logistic import BagLogistic
from aggregate.models.parameters import Positives
from aggregate.models.pooling import pool_all
from pipeline.bags import Bag


@dataclass(kw_only=True, eq=False, repr=False)
class MeanPooling(BagLogistic):
    """Logistic regression on the mean feature vector over all slices."""

    kind: ClassVar[str] = "mean_pooling"

    strengths: Positives = (1e-4, 1e-3, 1e-2, 1e-1)
    """Candidate values of C, chosen by the cross-validated log loss; smaller than elsewhere because a bag has hundreds of
    features."""

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the mean over all slices of each bag (bags, d)."""
        return pool_all(bags, ["mean"])
