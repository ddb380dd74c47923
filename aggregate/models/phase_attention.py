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
from aggregate.models.groups import Groups, attention_pool
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
        over_phases, phases, _ = self._attend(parameters, batch)
        pooled = (over_phases.unsqueeze(2) @ phases).squeeze(2)
        return apply_affine(parameters, "classify", batch.drop(pooled))

    def weights(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return phase weight times slice weight (fits, bags, slices), summing to 1 over the slices of a bag."""
        over_phases, _, scores = self._attend(parameters, batch)
        groups = self._bag_phases(parameters, batch)
        of_rows = groups.of_rows(over_phases.flatten(1).unsqueeze(2)).squeeze(2)  # (fits, slices)
        return (of_rows * groups.softmax(scores)).unsqueeze(1) * batch.in_bag

    def _attend(self, parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return phase weights (fits, bags, phases), phases (fits, bags, phases, hidden) and slice scores."""
        embedded = embed(parameters, batch)  # (fits, slices, hidden)
        scores = self.scores(parameters, batch, embedded)  # (fits, slices)
        groups = self._bag_phases(parameters, batch)
        learned = parameters["phase.embedding"]  # (fits, phases, hidden)
        shape = batch.bags.number, learned.shape[1]
        pooled = attention_pool(scores, embedded, groups).unflatten(1, shape)
        phases = pooled + learned.unsqueeze(1)
        phase_scores = gated_scores(parameters, "phase", phases.flatten(1, 2)).unflatten(1, shape)
        return masked_softmax(phase_scores, groups.occupied().unflatten(1, shape)), phases, scores

    def _bag_phases(self, parameters: Parameters, batch: Batch) -> Groups:
        """Return the slices of each bag by phase: bag b's of phase p are group b x phases + p."""
        return batch.bags.split(batch.phase, parameters["phase.embedding"].shape[1])


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseAttention(AttentionMIL):
    """Attention over slices, then over phases."""

    kind: ClassVar[str] = "phase_attention"

    def network(self) -> TwoStepAttention:
        """Return the network that the parameters describe."""
        return TwoStepAttention(hidden=self.hidden, gate=self.gate)
