"""Clustering-constrained attention, single branch (Lu et al.: Data-efficient and weakly supervised ..., 2021).

Gated attention-MIL with a clustering loss during training. Every class c has an instance classifier g_c. For a bag of
class y, with M the slices of highest attention and L the slices of lowest attention, the loss is:

    own class:       mean over M of -log sigmoid(g_y), and mean over L of -log(1 - sigmoid(g_y))
    other classes:   for each c other than y, mean over M of -log(1 - sigmoid(g_c))

The last line is the paper's term for mutually exclusive classes, as tumour types are; the terms are averaged over the
classes. M and L have `instances` slices each and are disjoint: if a bag has fewer than twice as many slices, half of
them go into each, an odd one into M.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.instances import Instances
from aggregate.models.network import Output, Shape
from aggregate.models.parameters import Count, Share


class ClusteringAttention(GatedAttention):
    """Attention-MIL with instance classifiers."""

    def __init__(
        self, shape: Shape, *, hidden: int, gate: int, dropout: float, instances: int, instance_share: float
    ) -> None:
        super().__init__(shape, hidden=hidden, gate=gate, dropout=dropout)
        self.instances, self.instance_share = instances, instance_share
        self.instance = nn.Linear(hidden, shape.n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention, evidence and the clustering loss."""
        embedded = self.embed(instances.features)  # (rows, hidden)
        scores = self.scores(embedded, instances)  # (rows,)
        pooled, attention = self.pooled(scores, embedded, instances)
        likeness = self.instance(embedded).float()  # (rows, classes)
        loss = partial(self._clustering_loss, instances, scores.detach(), likeness)
        return Output(self.classify(self.drop(pooled)), attention, self.classify(embedded), loss)

    def _clustering_loss(
        self, instances: Instances, scores: Tensor, likeness: Tensor, target: Tensor
    ) -> Tensor:
        most, least = most_and_least(instances, scores, self.instances)  # (rows,) each
        n_classes = likeness.shape[1]
        is_true = functional.one_hot(target[instances.bag], n_classes).bool()  # (rows, classes)
        # softplus(-g) = -log sigmoid(g), softplus(g) = -log(1 - sigmoid(g))
        loss = functional.softplus(torch.where(is_true, -likeness, likeness)) * most.unsqueeze(1)
        loss = loss + functional.softplus(likeness) * (is_true * least.unsqueeze(1))
        per_bag = loss.new_zeros(instances.n_bags).index_add(0, instances.bag, loss.sum(dim=1))
        return self.instance_share * per_bag / n_classes


def most_and_least(instances: Instances, scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Return the weight of each row in the mean of its bag's `number` highest scores, and of the lowest (rows,) each.

    No row is in both groups. The weights of a group sum to 1 over a bag; in a bag of one row the lowest group is empty.
    """
    filled = instances.padded(scores, filling=-torch.inf)  # (bags, most rows)
    rank = filled.argsort(dim=1, descending=True).argsort(dim=1)
    sizes = instances.sizes.unsqueeze(1)
    n_most = ((sizes + 1) // 2).clamp(max=number)
    n_least = (sizes // 2).clamp(max=number)
    most = (rank < n_most) / n_most
    least = ((rank >= sizes - n_least) & instances.is_real) / n_least.clamp(min=1)
    return instances.unpadded(most), instances.unpadded(least)


@dataclass(kw_only=True, eq=False, repr=False)
class CLAM(AttentionMIL):
    """CLAM with one attention branch."""

    kind: ClassVar[str] = "clam"

    instances: Count = 8
    """Number of slices with the highest attention, and again with the lowest, used by the clustering loss."""
    instance_share: Share = 0.3
    """Weight of the clustering loss; the bag loss has weight 1."""

    def new_network(self, shape: Shape) -> ClusteringAttention:
        """Return the network that the parameters describe."""
        return ClusteringAttention(
            shape,
            hidden=self.hidden,
            gate=self.gate,
            dropout=self.dropout,
            instances=self.instances,
            instance_share=self.instance_share,
        )
