"""The training objective: predict descriptors and factors of a view, classify its formula, recognise the image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.pretrain.descriptors import GROUPS, describe, standardised_over_batch
from extract.pretrain.settings import ObjectiveSettings
from extract.pretrain.trunk import trunk
from extract.pretrain.views import FACTORS, Views

GROUP_WEIGHTS = {"thumbnail": 1.0, "edges": 2.0, "texture": 2.0, "histogram": 0.5, "surround": 6.0}
"""Edges and texture are the same for a bright organ and a dark one; brightness alone misleads from scan to scan.
What surrounds the middle counts most: a faint lesion is a small part of every other group."""
TERMS = ("loss", "descriptors", "factors", "formula", "instance", "accuracy")


@dataclass(frozen=True)
class Told:
    """Outputs of the heads for a batch of n views.

    Attributes:
        descriptors: (n, sum of GROUPS), standardised over the batch.
        factors: (n, len(FACTORS)).
        formula: (n, formulas), logits.
        instance: float32 (n, 64), unit vectors.
    """

    descriptors: Tensor
    factors: Tensor
    formula: Tensor
    instance: Tensor


class Learner(nn.Module):
    """A trunk with one linear head per term of the objective, so that the targets are linear in its features."""

    def __init__(self, architecture: str, n_formulas: int, begin_from: Path | None = None) -> None:
        super().__init__()
        self.trunk, width = trunk(architecture, begin_from)
        self.descriptors = nn.Linear(width, sum(GROUPS.values()))
        self.factors = nn.Linear(width, len(FACTORS))
        self.formula = nn.Linear(width, n_formulas)
        self.instance = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 64))

    def forward(self, images: Tensor) -> Told:
        """Predict for normalised images (n, 3, size, size)."""
        features = self.trunk(images)
        return Told(
            self.descriptors(features),
            self.factors(features),
            self.formula(features),
            functional.normalize(self.instance(features).float()),
        )


def losses(
    told: Told, formula: Tensor, views: Sequence[Views], objective: ObjectiveSettings
) -> Mapping[str, Tensor]:
    """Return the terms of the loss, their weighted sum `loss`, and the accuracy of the formula.

    Args:
        told: outputs of the learner for the views of all images, first views before second ones.
        formula: int64 (n,), the formula of each image.
        views: one or two times n views.
        objective: the weights; a term of weight 0 is not computed and 0.
    """
    both = Views.joined(views)
    own = formula.repeat(len(views))
    nothing = torch.zeros((), device=own.device)
    terms = {
        "descriptors": _of_descriptors(told.descriptors, both) if objective.descriptors else nothing,
        "factors": functional.mse_loss(told.factors.float(), both.factors),
        "formula": _of_formula(told.formula.float(), own, both) if objective.formula else nothing,
        "instance": _known_again(told.instance, objective.temperature) if objective.instance else nothing,
    }
    total = torch.stack([getattr(objective, name) * term for name, term in terms.items()]).sum()
    return {"loss": total, **terms, "accuracy": (told.formula.argmax(1) == own).float().mean()}


def _of_descriptors(told: Tensor, views: Views) -> Tensor:
    """Squared error, averaged within each group and then by GROUP_WEIGHTS: 128 edges count like 16 textures."""
    groups = told.float().split(list(GROUPS.values()), dim=1)
    true = describe(views.clean)
    errors = [
        GROUP_WEIGHTS[name] * functional.mse_loss(answer, standardised_over_batch(true[name]))
        for answer, name in zip(groups, GROUPS, strict=True)
    ]
    return torch.stack(errors).sum() / sum(GROUP_WEIGHTS.values())


def _of_formula(logits: Tensor, own: Tensor, views: Views) -> Tensor:
    """Cross-entropy; where two images meet, each counts by its share of the area."""
    share = views.own_share
    by_own, by_partner = (
        functional.cross_entropy(logits, target, reduction="none", label_smoothing=0.05)
        for target in (own, own[views.partner])
    )
    return (share * by_own + (1 - share) * by_partner).mean()


def _known_again(units: Tensor, temperature: float) -> Tensor:
    """InfoNCE of first views followed by second views, as unit vectors."""
    n = len(units) // 2
    likeness = units @ units.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=units.device), -math.inf)
    return functional.cross_entropy(likeness, torch.arange(2 * n, device=units.device).roll(n))
