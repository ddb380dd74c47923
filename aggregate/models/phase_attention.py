"""Gated attention over the slices of each phase, then over the phases present.

With h_i = relu(x_i W + b) the embedded slices and P_p the slices of phase p, where g and k are gated scores:

    a_i = softmax over P_p of g(h_i)        for each phase p that has slices
    z_p = sum_{i in P_p} a_i h_i + e_p      e_p is learned for each phase
    c_p = softmax over the phases present of k(z_p)
    logits = (sum_p c_p z_p) C + f          the weight of slice i of phase p is c_p a_i
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.instances import Instances
from aggregate.models.network import GatedScore, Output, Shape
from aggregate.models.segments import segment_softmax, segment_sum


class TwoStepAttention(GatedAttention):
    """Attention over slices, then over phases."""

    def __init__(self, shape: Shape, *, hidden: int, gate: int, dropout: float) -> None:
        super().__init__(shape, hidden=hidden, gate=gate, dropout=dropout)
        self.phase_score = GatedScore(hidden, gate)
        self.phase_embedding = nn.Parameter(0.1 * torch.randn(shape.n_phases, hidden))

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        n_bags, n_phases = instances.n_bags, len(self.phase_embedding)
        embedded = self.embed(instances.features)  # (rows, hidden)
        group = instances.bag * n_phases + instances.phase  # (rows,)
        within = segment_softmax(self.scores(embedded, instances), group, n_bags * n_phases)
        pooled = segment_sum(within.unsqueeze(1) * embedded, group, n_bags * n_phases)
        phases = pooled + self.phase_embedding.repeat(n_bags, 1)  # (bags x phases, hidden)
        is_present = torch.zeros_like(phases[:, 0], dtype=torch.bool).index_fill(0, group, True)
        scores = self.phase_score(phases).masked_fill(~is_present, -torch.inf)
        across = scores.view(n_bags, n_phases).softmax(dim=1)  # (bags, phases)
        mixed = (across.unsqueeze(1) @ phases.view(n_bags, n_phases, -1)).squeeze(1)
        attention = across.flatten().index_select(0, group) * within
        return Output(self.classify(self.drop(mixed)), attention, self.classify(embedded))


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseAttention(AttentionMIL):
    """Attention over slices, then over phases."""

    kind: ClassVar[str] = "phase_attention"

    def new_network(self, shape: Shape) -> TwoStepAttention:
        """Return the network that the parameters describe."""
        return TwoStepAttention(shape, hidden=self.hidden, gate=self.gate, dropout=self.dropout)
