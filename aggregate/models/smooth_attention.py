"""Gated attention whose scores are smoothed over neighbouring slices (after Castro-Macias et al. 2024, Sm operator).

With s_i the gated score of slice i and N(i) the slices below and above it in the same phase (a slice at the end
stands in for its missing neighbour), repeated `steps` times from u = s:

    u_i <- (1 - smoothness) s_i + smoothness * mean of u over N(i)
    a = softmax(u)
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.engine import Parameters
from aggregate.models.layers import gated_scores, neighbours
from aggregate.models.packing import Batch
from aggregate.models.parameters import Count, ShareBelowOne


@dataclass(frozen=True)
class SmoothedAttention(GatedAttention):
    """The stacked network."""

    smoothness: float
    steps: int

    def scores(self, parameters: Parameters, batch: Batch, embedded: Tensor) -> Tensor:
        """Return the smoothed scores (fits, slices) of embedded instances."""
        scores = gated_scores(parameters, "slice", embedded).unsqueeze(2)  # (fits, slices, 1)
        smoothed = scores
        for _ in range(self.steps):
            below, above = neighbours(batch, smoothed)
            smoothed = (1 - self.smoothness) * scores + self.smoothness * (below + above) / 2
        return smoothed.squeeze(2)


@dataclass(kw_only=True, eq=False, repr=False)
class SmoothAttention(AttentionMIL):
    """Gated attention-MIL that prefers runs of slices to single ones."""

    kind: ClassVar[str] = "smooth_attention"

    smoothness: ShareBelowOne = 0.5
    """Weight of the neighbours' scores against a slice's own; 0 is gated attention."""
    steps: Count = 5
    """How often the smoothing is repeated."""

    def network(self) -> SmoothedAttention:
        """Return the network that the parameters describe."""
        return SmoothedAttention(
            hidden=self.hidden, gate=self.gate, smoothness=self.smoothness, steps=self.steps
        )
