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
from aggregate.models.two_steps import pooled_in_two_steps


class TwoStepAttention(GatedAttention):
    """Attention over slices, then over phases."""

    def __init__(self, shape: Shape, *, hidden: int, gate: int, dropout: float) -> None:
        super().__init__(shape, hidden=hidden, gate=gate, dropout=dropout)
        self.phase_score = GatedScore(hidden, gate)
        self.phase_embedding = nn.Parameter(0.1 * torch.randn(shape.n_phases, hidden))

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        embedded = self.embed(instances.features)  # (rows, hidden)
        mixed, attention = pooled_in_two_steps(
            embedded,
            self.scores(embedded, instances),
            instances.bag * len(self.phase_embedding) + instances.phase,
            instances.n_bags,
            embedding=self.phase_embedding,
            score_of=self.phase_score,
        )
        return Output(self.classify(self.drop(mixed)), attention, self.classify(embedded))


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseAttention(AttentionMIL):
    """Attention over slices, then over phases."""

    kind: ClassVar[str] = "phase_attention"

    def new_network(self, shape: Shape) -> TwoStepAttention:
        """Return the network that the parameters describe."""
        return TwoStepAttention(shape, hidden=self.hidden, gate=self.gate, dropout=self.dropout)
