"""A multilayer perceptron on the mean, maximum and standard deviation over all slices of a bag."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aggregate.models.mil import MILEstimator
from aggregate.models.packing import PackedBags
from aggregate.models.parameters import Count
from aggregate.models.pooling import pool_all
from aggregate.models.simple_pooling import EmbeddingSpace
from pipeline.bags import Bag


@dataclass(kw_only=True, eq=False, repr=False)
class MLP(MILEstimator):
    """One hidden layer on pooled features: to the engine, bags of one instance each."""

    kind: ClassVar[str] = "mlp"

    hidden: Count = 64
    """Width of the hidden layer."""

    def network(self) -> EmbeddingSpace:
        """Return the network that the parameters describe."""
        return EmbeddingSpace(hidden=self.hidden, pool="mean")

    def pack(self, bags: Iterable[Bag]) -> PackedBags:
        """Lay the pooled bags end to end."""
        return super().pack(_pooled(bag) for bag in bags)


def _pooled(bag: Bag) -> Bag:
    features = pool_all([bag], ["mean", "max", "std"]).astype(np.float32)  # (1, 3 d)
    return replace(bag.take(np.array([0])), features=features)
