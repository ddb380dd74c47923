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

from aggregate.models.engine import Parameters
from aggregate.models.mil import MILEstimator, glorot
from aggregate.models.packing import Batch, affine, masked_softmax
from aggregate.models.parameters import Count
from pipeline.bags import Bag


@dataclass(frozen=True)
class GatedAttention:
    """The stacked network; a missing bias of the scores is no loss, as softmax ignores it."""

    hidden: int
    gate: int

    def initial(self, n_features: int, n_classes: int, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        return {
            "embed.weight": glorot((n_features, self.hidden), generator),
            "embed.bias": torch.zeros(self.hidden),
            "gate.weight": glorot((self.hidden, 2 * self.gate), generator),
            "gate.bias": torch.zeros(2 * self.gate),
            "score.weight": glorot((self.gate, 1), generator),
            "classify.weight": glorot((self.hidden, n_classes), generator),
            "classify.bias": torch.zeros(n_classes),
        }

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        embedded = self.embed(parameters, batch)  # (fits, slices, hidden)
        weights = self.weights(parameters, batch, embedded)  # (fits, bags, slices)
        pooled = (weights.to(embedded.dtype) @ embedded).float()  # (fits, bags, hidden)
        return self.classify(parameters, batch.drop(pooled))

    def classify(self, parameters: Parameters, embeddings: Tensor) -> Tensor:
        """Return the logits (fits, rows, classes) of embeddings (fits, rows, hidden)."""
        return affine(embeddings, parameters["classify.weight"], parameters["classify.bias"].unsqueeze(1))

    def embed(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the embedded instances (fits, slices, hidden)."""
        return batch.project(parameters["embed.weight"], parameters["embed.bias"]).relu()

    def weights(self, parameters: Parameters, batch: Batch, embedded: Tensor) -> Tensor:
        """Return the attention (fits, bags, slices), summing to 1 over the slices of a bag."""
        gate = affine(embedded, parameters["gate.weight"], parameters["gate.bias"].unsqueeze(1))
        signal, door = gate.float().chunk(2, dim=2)  # (fits, slices, gate) each
        scores = (signal.tanh() * door.sigmoid()) @ parameters["score.weight"]  # (fits, slices, 1)
        return masked_softmax(scores.transpose(1, 2), batch.in_bag)


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

        def weights(batch: Batch) -> Tensor:
            return network.weights(self.parameters_, batch, network.embed(self.parameters_, batch))

        return self.per_instance_weights(bags, weights)

    def instance_evidence(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the logits of a bag of this instance alone (n, classes)."""
        network = self.network()

        def evidence(batch: Batch) -> Tensor:
            return network.classify(self.parameters_, network.embed(self.parameters_, batch).float())

        return self.per_instance(bags, evidence)
