"""Gated attention whose scores are smoothed over neighbouring slices (after Castro-Macias et al. 2024, Sm operator).

With s_i the gated score of slice i and N(i) the slices below and above it in the same phase (the first and last slice
replace their missing neighbour), repeated `steps` times from u = s:

    u_i <- (1 - smoothness) s_i + smoothness * mean of u over N(i)
    a = softmax(u)
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.instances import Instances
from aggregate.models.network import Shape
from aggregate.models.parameters import Count, ShareBelowOne


class SmoothedAttention(GatedAttention):
    """Attention-MIL with smoothed scores."""

    def __init__(
        self, shape: Shape, *, hidden: int, gate: int, dropout: float, smoothness: float, steps: int
    ) -> None:
        super().__init__(shape, hidden=hidden, gate=gate, dropout=dropout)
        self.smoothness, self.steps = smoothness, steps

    def scores(self, embedded: Tensor, instances: Instances) -> Tensor:
        """Return the smoothed scores (rows,)."""
        scores = super().scores(embedded, instances)
        smoothed = scores
        for _ in range(self.steps):
            neighbours = smoothed[instances.below] + smoothed[instances.above]
            smoothed = (1 - self.smoothness) * scores + self.smoothness * neighbours / 2
        return smoothed


@dataclass(kw_only=True, eq=False, repr=False)
class SmoothAttention(AttentionMIL):
    """Gated attention-MIL with attention scores smoothed over neighbouring slices."""

    kind: ClassVar[str] = "smooth_attention"

    smoothness: ShareBelowOne = 0.5
    """Weight of the neighbours' mean score; the slice's own score has 1 minus this weight. 0 is gated attention."""
    steps: Count = 5
    """Number of smoothing steps."""

    def new_network(self, shape: Shape) -> SmoothedAttention:
        """Return the network that the parameters describe."""
        return SmoothedAttention(
            shape,
            hidden=self.hidden,
            gate=self.gate,
            dropout=self.dropout,
            smoothness=self.smoothness,
            steps=self.steps,
        )
