"""The phases of a bag side by side: attention or mean within each phase, then one linear head over all phases.

With the instances x_i of a bag, standardised, P_p those of phase p, and g a gated score:

    a_i = softmax over P_p of g(x_i)                 or 1 / |P_p|
    z_p = sum_{i in P_p} a_i x_i                     for each phase p that has instances
    b   = (z_p - m_p) / s_p                          the block of phase p
    b   = (z_q - z_p - (m_q - m_p)) / s_pq           the block of the difference of phases p before q
    logits = f + sum over the blocks of b R_b C_b    R_b of `rank` columns, or none

m and s are mean and standard deviation over the training bags of the plain phase means and of their differences. A block
of a missing phase is a learned vector, or 0, the training mean. A network in which phases share weights and are averaged
cannot see a difference between phases, such as washout; this one has weights for each phase.

The head is linear, so that the logits are a sum over instances. The evidence of an instance of phase p,

    v_i = sum over the blocks of p of +-(x_i - m_p) / s R C      (- where p is the earlier phase of a difference),

is what it adds to the logits: f + sum_p sum_{i in P_p} a_i v_i are the logits of a bag with all phases. Its attention is
c_p a_i, where c_p is the contribution of phase p: the length of sum_i a_i v_i, less its mean over the classes, as a share of
those of all phases present.

Where the defaults come from: macro AUC, 5 folds. First column, phantom cohort of configs/study.toml with seed 1, features of
lesion and rim about the liver's HU; second and third, planted differences between two phases, in a half of the slices (seeds 1
and 2) and in all of them (seed 1, means within the phases) of benchmarks/phase_models.py.

    this network, rank 16, rate 3e-4    .80   .75   .86
    an ensemble of five of it           .82
    this network, rank 8, rate 1e-3     .81   .73   .84
    without projection, rate 1e-4       .78   .68   .85
    the same with means                 .78   .61   .85
    the same without differences        .75
    phase pooling, with differences     .79         .84
    phase pooling, without              .76
    phase attention                     .65
    attention-MIL                       .64
    mean pooling                        .63
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aggregate.models.instances import Instances, PackedBags
from aggregate.models.mil import AttendingEstimator, EvidentEstimator
from aggregate.models.network import GatedScore, Network, Output, Shape
from aggregate.models.parameters import Count, CountFromZero, NotNegative, Positive, ShareBelowOne
from aggregate.models.segments import segment_mean, segment_softmax, segment_sum
from aggregate.models.training import BAGS_PER_FORWARD, Task

WithinPhase = Literal["attention", "mean"]
Missing = Literal["learned", "mean"]


class PhasesSideBySide(Network):
    """One vector per phase, side by side, into a linear head."""

    mean: Tensor
    std: Tensor
    signs: Tensor

    def __init__(
        self, shape: Shape, *, pool: WithinPhase, gate: int, rank: int, missing: Missing, differences: bool,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        signs = block_signs(shape.n_phases, differences=differences)  # (blocks, phases)
        n_blocks, width = len(signs), rank or shape.n_features
        self.score = GatedScore(shape.n_features, gate) if pool == "attention" else None
        self.project = nn.Parameter(torch.empty(n_blocks, shape.n_features, rank)) if rank else None
        if self.project is not None:
            nn.init.normal_(self.project, std=shape.n_features**-0.5)
        self.missing = nn.Parameter(torch.zeros(n_blocks, width)) if missing == "learned" else None
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(n_blocks * width, shape.n_classes)
        nn.init.zeros_(self.classify.weight)
        nn.init.zeros_(self.classify.bias)
        self.register_buffer("signs", signs, persistent=False)
        self.register_buffer("mean", torch.zeros(shape.n_phases, shape.n_features))
        self.register_buffer("std", torch.ones(n_blocks, shape.n_features))

    def measure(self, bags: PackedBags, chosen: NDArray[np.intp]) -> None:
        """Take mean and standard deviation of phase means and differences from the chosen bags."""
        pieces = [bags.take(few) for few in np.array_split(chosen, math.ceil(len(chosen) / BAGS_PER_FORWARD))]
        phases = torch.cat([_phase_means(piece) for piece in pieces])
        is_present = torch.cat([self._is_present(piece) for piece in pieces])  # (bags, phases)
        self.mean.copy_(_mean_where(phases, is_present))
        centred = self._blocks(phases - self.mean)
        is_known = self._is_known(is_present)
        variance = _mean_where(centred**2, is_known)
        self.std.copy_(torch.where(variance > 1e-10, variance.sqrt(), 1.0))

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        n_groups = instances.n_bags * instances.n_phases
        group = self._group(instances)
        within = self._within(instances, group, n_groups)  # (rows,)
        pooled = segment_sum(within.unsqueeze(1) * instances.features, group, n_groups)
        phases = pooled.view(instances.n_bags, instances.n_phases, -1) - self.mean
        is_present = self._is_present(instances)
        blocks = self._blocks(phases) / self.std  # (bags, blocks, d)
        if self.project is not None:
            blocks = torch.einsum("bkd,kdr->bkr", blocks, self.project)
        filling = torch.zeros_like(blocks[0]) if self.missing is None else self.missing
        blocks = torch.where(self._is_known(is_present).unsqueeze(2), blocks, filling)
        logits = self.classify(self.drop(blocks.flatten(1)))
        if self.training:  # nobody asks, and it takes as long as the rest
            return Output(logits)
        with torch.no_grad():
            evidence = self._evidence(instances)
            attention = within * self._contributions(within, evidence, group, is_present)
        return Output(logits, attention, evidence)

    def _within(self, instances: Instances, group: Tensor, n_groups: int) -> Tensor:
        """Return the weight of each row within its phase (rows,)."""
        if self.score is None:
            return 1 / torch.bincount(group, minlength=n_groups)[group].float()
        scores: Tensor = self.score(instances.features)
        return segment_softmax(scores, group, n_groups)

    def _evidence(self, instances: Instances) -> Tensor:
        """Return what each row adds to the logits (rows, classes)."""
        n_classes, n_blocks = len(self.classify.bias), len(self.std)
        head = self.classify.weight.view(n_classes, n_blocks, -1)
        if self.project is not None:
            head = torch.einsum("ckr,kdr->ckd", head, self.project)
        weights = torch.einsum("kp,ckd->pdc", self.signs, head / self.std)  # of each phase
        offset = torch.einsum("pd,pdc->pc", self.mean, weights)
        votes = torch.einsum("nd,pdc->npc", instances.features.float(), weights.float()) - offset
        return votes[torch.arange(len(votes), device=votes.device), instances.phase]

    def _contributions(self, within: Tensor, evidence: Tensor, group: Tensor, is_present: Tensor) -> Tensor:
        """Return the share of each row's phase in what its bag's phases add to the logits (rows,)."""
        votes = segment_sum(within.unsqueeze(1) * evidence, group, is_present.numel())
        lengths = (votes - votes.mean(dim=1, keepdim=True)).norm(dim=1).view(is_present.shape)
        # Where no phase adds anything, as before the first step, all present weigh the same.
        lengths = torch.where(is_present, lengths.clamp(min=1e-12), 0.0)
        return (lengths / lengths.sum(dim=1, keepdim=True)).flatten()[group]

    def _blocks(self, phases: Tensor) -> Tensor:
        """Return phases and their differences (bags, blocks, d) of phases (bags, phases, d)."""
        return torch.einsum("kp,bpd->bkd", self.signs, phases)

    def _is_known(self, is_present: Tensor) -> Tensor:
        """Return which blocks need no missing phase (bags, blocks)."""
        return ~((~is_present).unsqueeze(1) & (self.signs != 0)).any(dim=2)

    def _group(self, instances: Instances) -> Tensor:
        return instances.bag * instances.n_phases + instances.phase

    def _is_present(self, instances: Instances) -> Tensor:
        n_groups = instances.n_bags * instances.n_phases
        rows = torch.bincount(self._group(instances), minlength=n_groups)
        return (rows > 0).view(instances.n_bags, instances.n_phases)


def _phase_means(bags: Instances) -> Tensor:
    """Return the mean of each phase of each bag (bags, phases, d), 0 for one without rows."""
    group = bags.bag * bags.n_phases + bags.phase
    return segment_mean(bags.features, group, bags.n_bags * bags.n_phases).view(
        bags.n_bags, bags.n_phases, -1
    )


def block_signs(n_phases: int, *, differences: bool) -> Tensor:
    """Return how each block is made of the phases (blocks, phases): each alone, then later less earlier."""
    alone = torch.eye(n_phases)
    if not differences:
        return alone
    early, late = torch.triu_indices(n_phases, n_phases, offset=1)
    return torch.cat([alone, alone[late] - alone[early]])


def _mean_where(values: Tensor, is_known: Tensor) -> Tensor:
    """Return the mean over the bags of which it is known (blocks, d) of values (bags, blocks, d), 0 where of none."""
    weight = is_known.unsqueeze(2).to(values.dtype)
    return (values * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)


@dataclass(kw_only=True, eq=False, repr=False)
class PhaseConcat(AttendingEstimator, EvidentEstimator):
    """Attention or mean within each phase, the phases side by side, a linear head."""

    kind: ClassVar[str] = "phase_concat"

    pool: WithinPhase = "attention"
    """How the slices of a phase become one vector."""
    gate: Count = 16
    """Width of the attention layer."""
    differences: bool = True
    """Add the difference between every two phases; washout is one."""
    rank: CountFromZero = 16
    """Width to which each phase and difference is projected linearly before the head; 0 for none."""
    missing: Missing = "learned"
    """What stands for a missing phase: a learned vector, or the mean of the training patients."""
    dropout: ShareBelowOne = 0.5
    """Share of the bag embedding set to zero while training."""
    learning_rate: Positive = 3e-4
    """Step of AdamW."""
    weight_decay: NotNegative = 1e-2
    """Decoupled weight decay of AdamW."""

    def new_network(self, shape: Shape) -> PhasesSideBySide:
        """Return the network that the parameters describe."""
        return PhasesSideBySide(
            shape,
            pool=self.pool,
            gate=self.gate,
            rank=self.rank,
            missing=self.missing,
            differences=self.differences,
            dropout=self.dropout,
        )

    def measure(self, network: nn.Module, task: Task) -> None:
        """Give the network mean and spread of the training bags' phases."""
        if isinstance(network, PhasesSideBySide):
            network.measure(task.bags, task.train)
