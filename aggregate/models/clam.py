"""Clustering-constrained attention, single branch (Lu et al.: Data-efficient and weakly supervised ..., 2021).

Gated attention-MIL, and while training one more loss. Every class c has an instance classifier g_c; of a bag of class y
with the slices M of most and L of least attention:

    like its class:      mean over M of -log sigmoid(g_y),  and over L of -log(1 - sigmoid(g_y))
    unlike the others:   for each c other than y, mean over M of -log(1 - sigmoid(g_c))

The last line is the paper's term for classes that exclude each other, as tumour types do; all are averaged over the
classes. M and L have `instances` slices each and never share one: a bag with fewer than twice as many gives half of its
slices to each, the odd one to M.
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
        """Return logits, attention and evidence, and the clustering loss."""
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
    """Return the share of each row among the `number` highest, and among the lowest, scores of its bag (rows,) each.

    No row is among both; the shares of either sum to 1 over a bag, those of the lowest to 0 for a bag of one row.
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
    """Most and least attended slices that the clustering loss looks at, of each."""
    instance_share: Share = 0.3
    """Weight of the clustering loss beside that of the bag."""

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
