"""A multilayer perceptron on the mean, maximum and standard deviation over all slices of a bag."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aggregate.models.mil import MILEstimator
from aggregate.models.network import Shape
from aggregate.models.parameters import Count, ShareBelowOne
from aggregate.models.pooling import pool_all
from aggregate.models.simple_pooling import EmbeddingSpace
from pipeline.bags import Bag


@dataclass(kw_only=True, eq=False, repr=False)
class MLP(MILEstimator):
    """One hidden layer on the pooled features of a bag."""

    kind: ClassVar[str] = "mlp"

    hidden: Count = 64
    """Width of the hidden layer."""
    dropout: ShareBelowOne = 0.25
    """Share of the hidden layer's outputs set to zero during training."""

    def new_network(self, shape: Shape) -> EmbeddingSpace:
        """Return the network that the parameters describe."""
        return EmbeddingSpace(shape, hidden=self.hidden, pool="mean", dropout=self.dropout)

    def prepared(self, bags: Iterable[Bag]) -> Iterable[Bag]:
        """Return bags with one instance each: the pooled features."""
        return (_pooled(bag) for bag in bags)


def _pooled(bag: Bag) -> Bag:
    features = pool_all([bag], ["mean", "max", "std"]).astype(np.float32)  # (1, 3 d)
    return replace(bag.take(np.array([0])), features=features)
