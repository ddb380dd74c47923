"""Clustering-constrained attention, single branch (Lu et al.: Data-efficient and weakly supervised ..., 2021).

Gated attention-MIL, and while training one more loss: the `instances` most attended slices of a bag must look like
its class to that class's own instance classifier, the least attended ones must not. A bag with fewer slices gives
as many as it has.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.engine import Parameters, Shape
from aggregate.models.groups import attention_pool
from aggregate.models.layers import apply_affine, embed, initial_affine
from aggregate.models.packing import Batch
from aggregate.models.parameters import Count, Share


@dataclass(frozen=True)
class ClusteringAttention(GatedAttention):
    """The stacked network."""

    instances: int
    instance_share: float

    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        return {
            **super().initial(shape, generator),
            **initial_affine("instance", self.hidden, shape.n_classes, generator),
        }

    def training_outputs(
        self, parameters: Parameters, batch: Batch, target: Tensor
    ) -> tuple[Tensor, Tensor | float]:
        """Return the logits and the clustering loss (fits, bags)."""
        embedded = embed(parameters, batch)  # (fits, slices, hidden)
        scores = self.scores(parameters, batch, embedded)  # (fits, slices)
        pooled = batch.drop(attention_pool(scores, embedded, batch.bags))  # (fits, bags, hidden)
        logits = apply_affine(parameters, "classify", pooled)
        evidence = apply_affine(parameters, "instance", embedded.float())  # (fits, slices, classes)
        # Of the true class of each bag: (fits, bags, slices)
        index = target.clamp(min=0).unsqueeze(2).expand(-1, -1, evidence.shape[1])
        of_truth = evidence.transpose(1, 2).gather(1, index)
        rank = scores.detach().unsqueeze(1).expand_as(batch.in_bag)
        most = self._mean_loss(-of_truth, rank, batch.in_bag)
        least = self._mean_loss(of_truth, -rank, batch.in_bag)
        return logits, self.instance_share * (most + least) / 2

    def _mean_loss(self, opposed: Tensor, rank: Tensor, in_bag: Tensor) -> Tensor:
        """Return the mean of log(1 + exp(opposed)) over the slices of highest rank of each bag (fits, bags)."""
        n = min(self.instances, rank.shape[2])
        chosen = rank.masked_fill(~in_bag, -torch.inf).topk(n, dim=2).indices  # (fits, bags, n)
        is_real = in_bag.gather(2, chosen)
        losses = functional.softplus(opposed.gather(2, chosen)) * is_real
        return losses.sum(dim=2) / is_real.sum(dim=2).clamp(min=1)


@dataclass(kw_only=True, eq=False, repr=False)
class CLAM(AttentionMIL):
    """CLAM with one attention branch."""

    kind: ClassVar[str] = "clam"

    instances: Count = 8
    """Most and least attended slices that the clustering loss looks at, of each."""
    instance_share: Share = 0.3
    """Weight of the clustering loss beside that of the bag."""

    def network(self) -> ClusteringAttention:
        """Return the network that the parameters describe."""
        return ClusteringAttention(
            hidden=self.hidden, gate=self.gate, instances=self.instances, instance_share=self.instance_share
        )
