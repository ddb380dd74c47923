"""Transformer over the slices of a bag (after Shao et al.: TransMIL, 2021).

A class token and the embedded slices go through two pre-normalised self-attention layers; between them each slice is
mixed with its neighbours, which encodes position. Two things differ from the paper, because a bag has a hundred slices
and not ten thousand: attention is exact instead of Nystrom's approximation, and position is encoded by the neighbours
along z instead of a convolution over the instances arranged in a square. So the order of the instances does not
matter. The attention of a slice is that of the class token to it in the last layer, averaged over heads.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from aggregate.models.instances import Instances
from aggregate.models.mil import AttendingEstimator
from aggregate.models.network import Embedding, Network, Output, Shape
from aggregate.models.parameters import Count, ShareBelowOne
from pipeline.errors import ConfigError


class AttentionLayer(nn.Module):
    """rows + self-attention(normalised rows) within each padded bag."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        # A bias of the keys cancels in the softmax: it would have no gradient and drift by rounding errors.
        self.attend = nn.MultiheadAttention(hidden, heads, bias=False, batch_first=True)

    def forward(self, rows: Tensor, is_filling: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows (bags, n, hidden) after the layer, and the mean attention of each row (bags, n, n)."""
        normed = self.norm(rows)
        mixed, weights = self.attend(normed, normed, normed, key_padding_mask=is_filling)
        return rows + mixed, weights


class Transformer(Network):
    """Two layers of self-attention on bags padded to one length."""

    def __init__(self, shape: Shape, *, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed = Embedding(shape.n_features, hidden)
        self.token = nn.Parameter(0.02 * torch.randn(hidden))
        self.first, self.second = AttentionLayer(hidden, heads), AttentionLayer(hidden, heads)
        self.position = nn.Parameter(torch.zeros(3, hidden))
        self.norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, shape.n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits and attention."""
        slices = instances.padded(self.embed(instances.features).float())  # (bags, most rows, hidden)
        token = self.token.expand(len(slices), 1, -1)
        is_filling = nn.functional.pad(~instances.is_real, (1, 0), value=False)  # (bags, 1 + most rows)
        rows, _ = self.first(torch.cat([token, slices], dim=1), is_filling)
        placed = instances.padded(self._with_neighbours(instances.unpadded(rows[:, 1:]), instances))
        rows, weights = self.second(torch.cat([rows[:, :1], placed], dim=1), is_filling)
        of_slices = weights[:, 0, 1:].float()  # (bags, most rows), of the class token
        attention = of_slices / of_slices.sum(dim=1, keepdim=True)
        logits = self.classify(self.drop(self.norm(rows[:, 0])))
        return Output(logits, instances.unpadded(attention))

    def _with_neighbours(self, rows: Tensor, instances: Instances) -> Tensor:
        """Return rows (rows, hidden) as a learned mix of each slice with the slices below and above."""
        own, below, above = self.position
        placed: Tensor = rows + rows * own + rows[instances.below] * below + rows[instances.above] * above
        return placed


@dataclass(kw_only=True, eq=False, repr=False)
class TransMIL(AttendingEstimator):
    """TransMIL with exact attention."""

    kind: ClassVar[str] = "transmil"

    hidden: Count = 64
    """Width of an embedded instance; a multiple of `heads`."""
    heads: Count = 4
    """Number of attention heads."""
    dropout: ShareBelowOne = 0.25
    """Share of the bag embedding set to zero during training."""

    def new_network(self, shape: Shape) -> Transformer:
        """Return the network that the parameters describe.

        Raises:
            ConfigError: the width is not divisible by the number of heads.
        """
        if self.hidden % self.heads:
            raise ConfigError(f"transmil: hidden = {self.hidden} is not a multiple of heads = {self.heads}")
        return Transformer(shape, hidden=self.hidden, heads=self.heads, dropout=self.dropout)
