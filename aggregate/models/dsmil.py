"""Dual-stream multiple instance learning (Li, Li, Eliceiri: Dual-stream MIL network, 2021).

With h_i = relu(x_i W + b), for each class c:

    s_ic = h_i C_c + f_c                     instance stream; m_c is the slice of the highest s_ic
    q_i = tanh(h_i Q + r)
    a_ic = softmax_i(q_i . q_{m_c} / sqrt(width of q))
    z_c = sum_i a_ic h_i                     bag stream
    logits_c = (max_i s_ic + z . D_c + g_c) / 2      z being all z_c side by side
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aggregate.models.engine import Network, Parameters, Shape
from aggregate.models.layers import apply_affine, embed, initial_affine
from aggregate.models.mil import MILEstimator
from aggregate.models.packing import Batch, masked_softmax
from aggregate.models.parameters import Count
from pipeline.bags import Bag


@dataclass(frozen=True)
class DualStream(Network):
    """The stacked network."""

    hidden: int
    query: int

    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        return {
            **initial_affine("embed", shape.n_features, self.hidden, generator),
            **initial_affine("instance", self.hidden, shape.n_classes, generator),
            **initial_affine("query", self.hidden, self.query, generator),
            **initial_affine("classify", shape.n_classes * self.hidden, shape.n_classes, generator),
        }

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        return self._streams(parameters, batch)[0]

    def weights(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the attention (fits, bags, slices): that of each class, weighted by its probability."""
        logits, attention = self._streams(parameters, batch)
        return torch.einsum("fbc,fbcs->fbs", logits.softmax(dim=2), attention)

    def instance_logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the instance stream (fits, slices, classes)."""
        return apply_affine(parameters, "instance", embed(parameters, batch).float())

    def _streams(self, parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits and the attention of each class (fits, bags, classes, slices)."""
        embedded = embed(parameters, batch).float()  # (fits, slices, hidden)
        evidence = apply_affine(parameters, "instance", embedded).transpose(1, 2)  # (fits, classes, slices)
        is_real = batch.in_bag.unsqueeze(2)  # (fits, bags, 1, slices)
        lowest = torch.finfo(evidence.dtype).min
        highest = evidence.unsqueeze(1).masked_fill(~is_real, lowest).max(dim=3)  # (fits, bags, classes)
        queries = apply_affine(parameters, "query", embedded).tanh()  # (fits, slices, query)
        critical = highest.indices.flatten(1).unsqueeze(2).expand(-1, -1, self.query)
        chosen = queries.gather(1, critical)  # (fits, bags x classes, query)
        similarity = (
            chosen @ queries.transpose(1, 2) / math.sqrt(self.query)
        )  # (fits, bags x classes, slices)
        scores = similarity.unflatten(1, highest.indices.shape[1:])
        attention = masked_softmax(scores, is_real)  # (fits, bags, classes, slices)
        pooled = attention.flatten(1, 2) @ embedded  # (fits, bags x classes, hidden)
        side_by_side = pooled.unflatten(1, highest.indices.shape[1:]).flatten(
            2
        )  # (fits, bags, classes x hidden)
        bag_stream = apply_affine(parameters, "classify", batch.drop(side_by_side))
        # A bag that only fills up the stack has no highest instance.
        instance_stream = highest.values.where(batch.in_bag.any(dim=2, keepdim=True), 0.0)
        return (instance_stream + bag_stream) / 2, attention


@dataclass(kw_only=True, eq=False, repr=False)
class DSMIL(MILEstimator):
    """DSMIL."""

    kind: ClassVar[str] = "dsmil"

    hidden: Count = 128
    """Width of an embedded instance."""
    query: Count = 64
    """Width of the queries that are compared with the critical instance's."""

    def network(self) -> DualStream:
        """Return the network that the parameters describe."""
        return DualStream(hidden=self.hidden, query=self.query)

    def attention(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the weight of each instance (n,), summing to 1."""
        network = self.network()
        return self.per_instance_weights(bags, lambda batch: network.weights(self.parameters_, batch))

    def instance_evidence(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the instance stream's logits (n, classes)."""
        network = self.network()
        return self.per_instance(bags, lambda batch: network.instance_logits(self.parameters_, batch))
