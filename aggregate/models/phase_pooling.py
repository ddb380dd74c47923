"""One mean per phase, side by side, then logistic regression: mean pooling that keeps the phases apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.models.logistic import BagLogistic
from aggregate.models.parameters import Positives
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from pipeline.bags import Bag


@dataclass(kw_only=True, eq=False, repr=False)
class PhasePooling(BagLogistic):
    """Logistic regression on the mean slice of each phase; the training mean stands in where one is missing."""

    kind: ClassVar[str] = "phase_pooling"

    differences: bool = True
    """Add the difference between every two phases; washout is one."""
    strengths: Positives = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    """As in every logistic regression here, but a bag has thousands of features."""

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the means over the known slices of each phase, NaN where there is none (bags, phases x d, or more)."""
        pool = pool_phases_and_differences if self.differences else pool_phases
        return pool(bags, ["mean"])
