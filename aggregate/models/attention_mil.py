"""Gated attention over instances (Ilse, Tomczak, Welling: Attention-based deep multiple instance learning, 2018).

With the instances x_i of a bag, standardised:

    h_i = relu(x_i W + b)
    a_i = softmax_i( (tanh(h_i V + c) * sigmoid(h_i U + e)) w )
    logits = (sum_i a_i h_i) C + f
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aggregate.models.engine import Network, Parameters, Shape
from aggregate.models.groups import attention_pool
from aggregate.models.layers import (
    apply_affine,
    embed,
    gated_scores,
    initial_affine,
    initial_gated_score,
)
from aggregate.models.mil import MILEstimator
from aggregate.models.packing import Batch
from aggregate.models.parameters import Count
from pipeline.bags import Bag


@dataclass(frozen=True)
class GatedAttention(Network):
    """The stacked network."""

    hidden: int
    gate: int

    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        return {
            **initial_affine("embed", shape.n_features, self.hidden, generator),
            **initial_gated_score("slice", self.hidden, self.gate, generator),
            **initial_affine("classify", self.hidden, shape.n_classes, generator),
        }

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        embedded = embed(parameters, batch)  # (fits, slices, hidden)
        scores = self.scores(parameters, batch, embedded)
        pooled = attention_pool(scores, embedded, batch.bags)  # (fits, bags, hidden)
        return apply_affine(parameters, "classify", batch.drop(pooled))

    def weights(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the attention (fits, bags, slices), summing to 1 over the slices of a bag."""
        scores = self.scores(parameters, batch, embed(parameters, batch))
        return batch.bags.softmax(scores).unsqueeze(1) * batch.in_bag

    def scores(self, parameters: Parameters, batch: Batch, embedded: Tensor) -> Tensor:
        """Return the scores (fits, slices) of embedded instances, of which the attention is the softmax."""
        del batch
        return gated_scores(parameters, "slice", embedded)


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionMIL(MILEstimator):
    """Gated attention-MIL."""

    kind: ClassVar[str] = "attention_mil"

    hidden: Count = 128
    """Width of an embedded instance."""
    gate: Count = 64
    """Width of the attention layer."""

    def network(self) -> GatedAttention:
        """Return the network that the parameters describe."""
        return GatedAttention(hidden=self.hidden, gate=self.gate)

    def attention(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the weight of each instance (n,), summing to 1."""
        network = self.network()
        return self.per_instance_weights(bags, lambda batch: network.weights(self.parameters_, batch))

    def instance_evidence(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the logits of a bag of this instance alone (n, classes)."""
        return self.per_instance(
            bags,
            lambda batch: apply_affine(self.parameters_, "classify", embed(self.parameters_, batch).float()),
        )
