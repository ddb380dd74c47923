"""Intermediate fusion: attention over the instances of each modality, then over the modalities that a patient has.

For each modality m with instances x_i, standardised over the instances of that modality:

    h_i = relu(x_i W_m + b_m)
    a_i = softmax_i( (tanh(h_i V_m + c_m) * sigmoid(h_i U_m + e_m)) w_m )    over the instances of m
    z_m = sum_i a_i h_i

and over the modalities that the patient has:

    s_m = softmax_m( (tanh(z_m V + c) * sigmoid(z_m U + e)) w )
    logits = (sum_m s_m z_m) C + f

A missing modality has no row, so neither a weight nor a gradient: nothing of it is imputed. The attention of a row is
s_m a_i; its sum over the rows of a modality is s_m.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aggregate.cohort.patient import Reads
from aggregate.models.base import Arrays, Labels, Samples, TunePatients
from aggregate.models.instances import Instances
from aggregate.models.joint_views import JointView, unknown_elsewhere, views_of, widths_of
from aggregate.models.mil import MILEstimator
from aggregate.models.network import Embedding, GatedScore, Network, Output, Shape
from aggregate.models.parameters import Count, ShareBelowOne
from aggregate.models.samples import BagShape
from aggregate.models.segments import segment_softmax, segment_sum
from aggregate.models.views import as_patient
from pipeline.bags import Bag
from pipeline.errors import ConfigError


class ModalityNetwork(Network):
    """Gated attention within each modality, and over the modalities present."""

    def __init__(
        self, widths: Iterable[int], n_classes: int, *, hidden: int, gate: int, dropout: float
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.embed = nn.ModuleList([Embedding(width, hidden) for width in self.widths])
        self.instance_score = nn.ModuleList([GatedScore(hidden, gate) for _ in self.widths])
        # Over one modality the softmax is 1 whatever the score, which no gradient would ever reach.
        self.modality_score = GatedScore(hidden, gate) if len(self.widths) > 1 else None
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits and attention; `phase` of the instances is the number of the modality."""
        pooled, owners, attention = (
            [],
            [],
            instances.features.new_zeros(len(instances.bag), dtype=torch.float32),
        )
        begin = 0
        for number, (embed, score) in enumerate(zip(self.embed, self.instance_score, strict=True)):
            rows = torch.nonzero(instances.phase == number).squeeze(1)
            begin, columns = begin + self.widths[number], slice(begin, begin + self.widths[number])
            if not len(rows):
                continue
            own, bag = torch.unique(instances.bag[rows], return_inverse=True)  # the patients who have it
            embedded = embed(instances.features[rows, columns])  # (rows of the modality, hidden)
            weights = segment_softmax(score(embedded), bag, len(own))
            pooled.append(segment_sum(weights.unsqueeze(1) * embedded, bag, len(own)))
            owners.append(own)
            attention = attention.index_add(0, rows, weights)
        together, owner = (
            torch.cat(pooled),
            torch.cat(owners),
        )  # (modalities present, hidden), (modalities present,)
        shares = self._shares(together, owner, instances.n_bags)
        fused = segment_sum(shares.unsqueeze(1) * together, owner, instances.n_bags)
        return Output(self.classify(self.drop(fused)), attention * self._of_rows(shares, owners, instances))

    def _shares(self, pooled: torch.Tensor, owner: torch.Tensor, n_bags: int) -> torch.Tensor:
        """Return the weight of each modality present within its patient (modalities present,)."""
        if self.modality_score is None:
            return torch.ones(len(pooled), device=pooled.device)
        return segment_softmax(self.modality_score(pooled), owner, n_bags)

    def _of_rows(
        self, shares: torch.Tensor, owners: list[torch.Tensor], instances: Instances
    ) -> torch.Tensor:
        """Return for each row the share of its modality (rows,)."""
        numbers = torch.unique(instances.phase)
        table = shares.new_zeros(instances.n_bags, len(self.widths))
        for number, own, part in zip(
            numbers.tolist(), owners, shares.split([len(o) for o in owners]), strict=True
        ):
            table[own, number] = part
        return table[instances.bag, instances.phase]


@dataclass(kw_only=True, eq=False, repr=False)
class ModalityAttention(MILEstimator):
    """Attention over the instances of each modality, then over the modalities that a patient has; a missing one has no weight."""

    kind: ClassVar[str] = "modality_attention"

    modalities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name of each modality, with the `bags`, `features`, `measures` and `phases` that it reads; by default the only bag set."""
    hidden: Count = 64
    """Width to which every modality is embedded."""
    gate: Count = 32
    """Width of the attention layers."""
    dropout: ShareBelowOne = 0.25
    """Share of the fused vector set to zero during training."""

    def modality_attention(self, patients: Samples) -> NDArray[np.float64]:
        """Return the weight of each modality of each patient (patients, modalities), 0 for a missing one, NaN without any."""
        names = list(self._view().parts)
        found = np.full((len(patients), len(names)), np.nan)
        seen = np.flatnonzero(self.sees(patients))
        rows = self.per_row([patients[int(i)] for i in seen], "attention") if len(seen) else []
        for i, weights in zip(seen, rows, strict=True):
            bag = self._view().of(as_patient(patients[int(i)]))
            if bag is not None:
                found[i] = np.bincount(bag.phase, weights=weights, minlength=len(names))
        return found

    def new_network(self, shape: Shape) -> Network:
        """Return the network that the parameters describe."""
        return ModalityNetwork(
            self._view().widths.values(),
            shape.n_classes,
            hidden=self.hidden,
            gate=self.gate,
            dropout=self.dropout,
        )

    def prepared(self, bags: Iterable[Bag]) -> Iterable[Bag]:
        """Return the bags with the columns of other modalities unknown, so that each modality is scaled by itself."""
        return unknown_elsewhere(bags)

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Read the first patient of each modality, and build the network."""
        self._check_own()
        if len(patients):
            self.widths_ = widths_of(views_of(self.modalities, self.kind), patients)
            super().try_building(patients, n_classes)
            del self.widths_

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return the bag sets of all modalities, and the covariates."""
        given = parameters.get("modalities") or {"bags": {}}
        sets = frozenset(str(one.get("bags", "")) for one in given.values())
        return Reads(bag_sets=sets, covariates=frozenset(parameters.get("covariates", ())))

    def learned_arrays(self) -> Arrays:
        """Return what the network learned, and the widths of the modalities."""
        return {**super().learned_arrays(), "widths": np.array(list(self.widths_.values()))}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the arrays that `learned_arrays` returned."""
        views = views_of(self.modalities, self.kind)
        self.widths_ = dict(zip(views, np.asarray(arrays["widths"]).tolist(), strict=True))
        super().set_learned_arrays(arrays)

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> BagShape | None:
        self._check_own()
        self.widths_ = widths_of(views_of(self.modalities, self.kind), patients)
        return super()._fit_patients(patients, labels, tune)

    def _view(self) -> JointView:
        return JointView(parts=views_of(self.modalities, self.kind), widths=getattr(self, "widths_", {}))

    def _check_own(self) -> None:
        """Refuse what would say beside the modalities what is read.

        Raises:
            ConfigError: the parameter is named.
        """
        for name in ("bags", "features", "measures", "phases"):
            if getattr(self, name):
                raise ConfigError(
                    f"model {self.kind!r}: {name}: belongs to one of `modalities`, not to the model"
                )
