"""Mean or maximum over the instances, either of their embeddings or of their logits.

With h_i = relu(x_i W + b):

    embedding space:  logits = (pool_i h_i) C + f
    instance space:   logits = pool_i (h_i C + f)
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from aggregate.models.instances import Instances
from aggregate.models.mil import EvidentEstimator, MILEstimator
from aggregate.models.network import Embedding, Network, Output, Shape
from aggregate.models.parameters import Count, ShareBelowOne
from aggregate.models.segments import segment_max, segment_mean

Pool = Literal["mean", "max"]


class EmbeddingSpace(Network):
    """Pools embeddings."""

    def __init__(self, shape: Shape, *, hidden: int, pool: Pool, dropout: float) -> None:
        super().__init__()
        self.pool = pool
        self.embed = Embedding(shape.n_features, hidden)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, shape.n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits."""
        pooled = _pooled(self.pool, self.embed(instances.features), instances)
        return Output(self.classify(self.drop(pooled)))


class InstanceSpace(Network):
    """Pools logits."""

    def __init__(self, shape: Shape, *, hidden: int, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.embed = Embedding(shape.n_features, hidden)
        self.classify = nn.Linear(hidden, shape.n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits and evidence."""
        evidence = self.classify(self.embed(instances.features)).float()
        return Output(_pooled(self.pool, evidence, instances), evidence=evidence)


def _pooled(pool: Pool, values: Tensor, instances: Instances) -> Tensor:
    """Return the mean or maximum of values (rows, width) over each bag (bags, width), in float32."""
    if pool == "mean":
        return segment_mean(values, instances.bag, instances.n_bags)
    return segment_max(values, instances.bag, instances.n_bags).float()


@dataclass(kw_only=True, eq=False, repr=False)
class EmbeddingPooling(MILEstimator):
    """Mean or maximum of the instances' embeddings."""

    kind: ClassVar[str] = "embedding_pooling"

    hidden: Count = 128
    """Width of an embedded instance."""
    pool: Pool = "mean"
    """How the instances become one."""
    dropout: ShareBelowOne = 0.25
    """Share of the bag embedding set to zero during training."""

    def new_network(self, shape: Shape) -> EmbeddingSpace:
        """Return the network that the parameters describe."""
        return EmbeddingSpace(shape, hidden=self.hidden, pool=self.pool, dropout=self.dropout)


@dataclass(kw_only=True, eq=False, repr=False)
class InstancePooling(EvidentEstimator):
    """Mean or maximum of the instances' logits; without dropout, because there is no bag embedding."""

    kind: ClassVar[str] = "instance_pooling"

    hidden: Count = 128
    """Width of an embedded instance."""
    pool: Pool = "mean"
    """How the instances become one."""

    def new_network(self, shape: Shape) -> InstanceSpace:
        """Return the network that the parameters describe."""
        return InstanceSpace(shape, hidden=self.hidden, pool=self.pool)
