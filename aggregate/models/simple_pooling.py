"""Mean or maximum over the instances, of their embeddings or of their logits.

With h_i = relu(x_i W + b):

    embedding space:  logits = (pool_i h_i) C + f
    instance space:   logits = pool_i (h_i C + f)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aggregate.models.engine import Network, Parameters, Shape
from aggregate.models.layers import apply_affine, embed, initial_affine
from aggregate.models.mil import MILEstimator
from aggregate.models.packing import Batch
from aggregate.models.parameters import Count
from pipeline.bags import Bag

Pool = Literal["mean", "max"]


@dataclass(frozen=True)
class EmbeddingSpace(Network):
    """The stacked network that pools embeddings."""

    hidden: int
    pool: Pool

    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        return {
            **initial_affine("embed", shape.n_features, self.hidden, generator),
            **initial_affine("classify", self.hidden, shape.n_classes, generator),
        }

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        pooled = pool_rows(self.pool, embed(parameters, batch), batch.in_bag)  # (fits, bags, hidden)
        return apply_affine(parameters, "classify", batch.drop(pooled))


@dataclass(frozen=True)
class InstanceSpace(EmbeddingSpace):
    """The stacked network that pools logits."""

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        return pool_rows(self.pool, self.instance_logits(parameters, batch), batch.in_bag)

    def instance_logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits of each instance (fits, slices, classes)."""
        return apply_affine(parameters, "classify", embed(parameters, batch).float())


def pool_rows(pool: Pool, values: Tensor, in_bag: Tensor) -> Tensor:
    """Return the mean or maximum of values (fits, slices, width) over the slices of each bag, in float32."""
    if pool == "mean":
        weights = in_bag / in_bag.sum(dim=2, keepdim=True).clamp(min=1)  # (fits, bags, slices)
        return (weights.to(values.dtype) @ values).float()
    n_bags = in_bag.shape[1]
    # Rows of no bag go to a bag of their own, which is cut off.
    bag = torch.where(in_bag.any(dim=1), in_bag.int().argmax(dim=1), n_bags)  # (fits, slices)
    empty = values.new_zeros((len(values), n_bags + 1, values.shape[2]))
    index = bag.unsqueeze(2).expand_as(values)
    return empty.scatter_reduce(1, index, values, "amax", include_self=False)[:, :n_bags].float()


@dataclass(kw_only=True, eq=False, repr=False)
class EmbeddingPooling(MILEstimator):
    """Mean or maximum of the embedded instances."""

    kind: ClassVar[str] = "embedding_pooling"

    hidden: Count = 128
    """Width of an embedded instance."""
    pool: Pool = "mean"
    """How the instances become one."""

    def network(self) -> EmbeddingSpace:
        """Return the network that the parameters describe."""
        return EmbeddingSpace(hidden=self.hidden, pool=self.pool)


@dataclass(kw_only=True, eq=False, repr=False)
class InstancePooling(MILEstimator):
    """Mean or maximum of the instances' logits."""

    kind: ClassVar[str] = "instance_pooling"

    hidden: Count = 128
    """Width of an embedded instance."""
    pool: Pool = "mean"
    """How the instances become one."""

    def network(self) -> InstanceSpace:
        """Return the network that the parameters describe."""
        return InstanceSpace(hidden=self.hidden, pool=self.pool)

    def instance_evidence(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the logits of each instance (n, classes)."""
        network = self.network()
        return self.per_instance(bags, lambda batch: network.instance_logits(self.parameters_, batch))
