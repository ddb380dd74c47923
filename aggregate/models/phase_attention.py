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
from torch import Tensor

from aggregate.models.attention_mil import AttentionMIL, GatedAttention
from aggregate.models.engine import Parameters, Shape
from aggregate.models.layers import apply_affine, embed, gated_scores, initial_gated_score
from aggregate.models.packing import Batch, masked_softmax


@dataclass(frozen=True)
class TwoStepAttention(GatedAttention):
    """The stacked network."""

    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        embeddings = 0.1 * torch.randn((shape.n_phases, self.hidden), generator=generator)
        return {
            **super().initial(shape, generator),
            **initial_gated_score("phase", self.hidden, self.gate, generator),
            "phase.embedding": embeddings,
        }

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        _, over_phases, phases = self._attend(parameters, batch)
        pooled = torch.einsum("fbp,fbph->fbh", over_phases, phases)
        return apply_affine(parameters, "classify", batch.drop(pooled))

    def weights(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return phase weight times slice weight (fits, bags, slices), summing to 1 over the slices of a bag."""
        over_slices, over_phases, _ = self._attend(parameters, batch)
        return torch.einsum("fbp,fbps->fbs", over_phases, over_slices)

    def _attend(self, parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return slice weights (fits, bags, phases, slices), phase weights and the embedded phases."""
        embedded = embed(parameters, batch)  # (fits, slices, hidden)
        learned = parameters["phase.embedding"]  # (fits, phases, hidden)
        numbers = torch.arange(learned.shape[1], device=learned.device)
        in_phase = batch.phase.unsqueeze(1) == numbers.unsqueeze(1)  # (fits, phases, slices)
        is_real = batch.in_bag.unsqueeze(2) & in_phase.unsqueeze(1)  # (fits, bags, phases, slices)
        scores = gated_scores(parameters, "slice", embedded)[:, None, None]  # (fits, 1, 1, slices)
        over_slices = masked_softmax(scores, is_real)
        flat = over_slices.flatten(1, 2).to(embedded.dtype) @ embedded  # (fits, bags x phases, hidden)
        phases = flat.float().unflatten(1, is_real.shape[1:3]) + learned.unsqueeze(1)
        phase_scores = gated_scores(parameters, "phase", phases.flatten(1, 2)).unflatten(
            1, is_real.shape[1:3]
        )
        return over_slices, masked_softmax(phase_scores, is_real.any(dim=3)), phases


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseAttention(AttentionMIL):
    """Attention over slices, then over phases."""

    kind: ClassVar[str] = "phase_attention"

    def network(self) -> TwoStepAttention:
        """Return the network that the parameters describe."""
        return TwoStepAttention(hidden=self.hidden, gate=self.gate)
