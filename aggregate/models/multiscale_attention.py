"""Gated attention over slices that are seen at several scales, which knows the scale of each instance.

With h_i = relu(x_i W + b) the embedded instances, s(i) the scale of instance i, e_s a learned vector of scale s, and g and k
gated scores, either by `embedding`, one attention over all instances:

    h'_i = h_i + e_s(i)
    a_i = softmax_i g(h'_i)
    logits = (sum_i a_i h'_i) C + f

or by `attention`, over the instances of each scale and then over the scales that the bag has:

    a_i = softmax over scale s of g(h_i)
    z_s = sum_{i in s} a_i h_i + e_s
    c_s = softmax over the scales present of k(z_s)
    logits = (sum_s c_s z_s) C + f          the weight of instance i of scale s is c_s a_i

The evidence of an instance is (h_i + e_s(i)) C + f: the logits of a bag that holds this instance only, and in both ways the
logits are the mean of the evidence, weighted by the attention. Bags of one scale have no e and no k, so that both ways are
then gated attention-MIL, with the same random numbers.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.instances import Instances
from aggregate.models.network import GatedScore, Network, Output, Shape
from aggregate.models.two_steps import pooled_in_two_steps

ScalesBy = Literal["embedding", "attention"]


class ScaleEmbedding(GatedAttention):
    """Gated attention over embedded instances that carry the vector of their scale."""

    def __init__(self, shape: Shape, *, hidden: int, gate: int, dropout: float) -> None:
        super().__init__(shape, hidden=hidden, gate=gate, dropout=dropout)
        several = shape.n_scales > 1
        self.scale_embedding = nn.Parameter(0.1 * torch.randn(shape.n_scales, hidden)) if several else None

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        embedded = self.embed(instances.features)  # (rows, hidden)
        placed = self.placed(embedded, instances)
        pooled, attention = self.pooled(self.scores(placed, instances), placed, instances)
        return Output(self.classify(self.drop(pooled)), attention, self.classify(placed))

    def placed(self, embedded: Tensor, instances: Instances) -> Tensor:
        """Return embedded instances (rows, hidden) with the vector of their scale added."""
        if self.scale_embedding is None:
            return embedded
        return embedded + self.scale_embedding[instances.scale]


class ScaleAttention(ScaleEmbedding):
    """Gated attention over the instances of each scale, then over the scales."""

    def __init__(self, shape: Shape, *, hidden: int, gate: int, dropout: float) -> None:
        super().__init__(shape, hidden=hidden, gate=gate, dropout=dropout)
        self.scale_score = GatedScore(hidden, gate) if shape.n_scales > 1 else None

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        if self.scale_embedding is None or self.scale_score is None:
            return super().forward(instances)
        embedded = self.embed(instances.features)  # (rows, hidden)
        mixed, attention = pooled_in_two_steps(
            embedded,
            self.scores(embedded, instances),
            instances.bag * len(self.scale_embedding) + instances.scale,
            instances.n_bags,
            embedding=self.scale_embedding,
            score_of=self.scale_score,
        )
        evidence = self.classify(self.placed(embedded, instances))
        return Output(self.classify(self.drop(mixed)), attention, evidence)


@dataclass(kw_only=True, eq=False, repr=False)
class MultiscaleAttention(AttentionMIL):
    """Gated attention-MIL that knows the scale of each instance, for bags of several scales."""

    kind: ClassVar[str] = "multiscale_attention"

    scales_by: ScalesBy = "attention"
    """`embedding`: a learned vector of the scale is added to each instance. `attention`: attention within each scale, then
    over the scales; a scale that a bag lacks has no part."""

    def new_network(self, shape: Shape) -> Network:
        """Return the network that the parameters describe."""
        network = ScaleEmbedding if self.scales_by == "embedding" else ScaleAttention
        return network(shape, hidden=self.hidden, gate=self.gate, dropout=self.dropout)
