"""Transformer over the slices of a bag (after Shao et al.: TransMIL, 2021).

A class token and the embedded slices go through two pre-normalised self-attention layers; between them each slice
takes in its neighbours, which tells it where it is. Two things differ from the paper, because a bag has a hundred
slices and not ten thousand: attention is exact instead of Nystrom's approximation, and the position comes from the
neighbours along z instead of a convolution over a square that the instances are folded into. So the order in which
the instances are given does not matter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from aggregate.models.engine import Network, Parameters, Shape
from aggregate.models.layers import apply_affine, embed, initial_affine, neighbours
from aggregate.models.mil import MILEstimator
from aggregate.models.packing import Batch, masked_softmax
from aggregate.models.parameters import Count
from pipeline.bags import Bag
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Transformer(Network):
    """The stacked network."""

    hidden: int
    heads: int

    def initial(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of one fit."""
        layers: dict[str, Tensor] = {}
        for layer in ("first", "second"):
            layers |= initial_affine(f"{layer}.qkv", self.hidden, 3 * self.hidden, generator)
            layers |= initial_affine(f"{layer}.out", self.hidden, self.hidden, generator)
            layers |= {f"{layer}.norm": torch.ones(self.hidden)}
        return {
            **initial_affine("embed", shape.n_features, self.hidden, generator),
            **layers,
            "token": 0.02 * torch.randn(self.hidden, generator=generator),
            "position": torch.zeros(3, self.hidden),
            "norm": torch.ones(self.hidden),
            **initial_affine("classify", self.hidden, shape.n_classes, generator),
        }

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits (fits, bags, classes)."""
        token, _ = self._run(parameters, batch)
        normed = _normalised(token, parameters["norm"])  # (fits, bags, hidden)
        return apply_affine(parameters, "classify", batch.drop(normed))

    def floats_per_fit(self, n_slices: int, n_features: int) -> int:
        """Return about how many numbers a training step of one fit keeps: every slice looks at every other."""
        return super().floats_per_fit(n_slices, n_features) + 6 * self.heads * n_slices**2

    def weights(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return how the class token of the last layer weighs the slices (fits, bags, slices), mean over heads."""
        _, attention = self._run(parameters, batch)
        return attention / attention.sum(dim=2, keepdim=True).clamp(min=1e-30)

    def _run(self, parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the class tokens (fits, bags, hidden) and their last attention over the slices."""
        slices = embed(parameters, batch).float()  # (fits, slices, hidden)
        token = parameters["token"].unsqueeze(1).expand(-1, batch.in_bag.shape[1], -1)
        token, slices, _ = self._attend(parameters, "first", token, slices, batch)
        below, above = neighbours(batch, slices)
        position = parameters["position"].unsqueeze(2)  # (fits, 3, 1, hidden)
        slices = slices + slices * position[:, 0] + below * position[:, 1] + above * position[:, 2]
        token, _, weights = self._attend(parameters, "second", token, slices, batch)
        return token, weights

    def _attend(
        self, parameters: Parameters, layer: str, token: Tensor, slices: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens and slices after one layer, and the tokens' attention over the slices."""
        n_bags = token.shape[1]
        rows = torch.cat([token, slices], dim=1)  # (fits, bags + slices, hidden)
        normed = _normalised(rows, parameters[f"{layer}.norm"])
        qkv = apply_affine(parameters, f"{layer}.qkv", normed)  # (fits, rows, 3 hidden)
        queries, keys, values = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])  # (fits, heads, rows, rows)
        attention = masked_softmax(scores, _same_bag(batch.in_bag).unsqueeze(1))
        mixed = (attention @ values).transpose(1, 2).flatten(2)  # (fits, rows, hidden)
        rows = rows + apply_affine(parameters, f"{layer}.out", mixed)
        over_slices = attention[:, :, :n_bags, n_bags:].mean(dim=1)  # (fits, bags, slices)
        return rows[:, :n_bags], rows[:, n_bags:], over_slices


def _same_bag(in_bag: Tensor) -> Tensor:
    """Return which rows, the bags' tokens and then the slices, belong to the same bag (fits, rows, rows)."""
    n_fits, n_bags, _ = in_bag.shape
    tokens = torch.eye(n_bags, dtype=torch.bool, device=in_bag.device).expand(n_fits, -1, -1)
    members = torch.cat([tokens, in_bag], dim=2).float()  # (fits, bags, rows)
    return (members.transpose(1, 2) @ members) > 0


def _normalised(rows: Tensor, weight: Tensor) -> Tensor:
    """Return layer-normalised rows (fits, rows, hidden) times a weight (fits, hidden)."""
    return functional.layer_norm(rows, rows.shape[-1:]) * weight.unsqueeze(1)


@dataclass(kw_only=True, eq=False, repr=False)
class TransMIL(MILEstimator):
    """TransMIL with exact attention."""

    kind: ClassVar[str] = "transmil"

    hidden: Count = 64
    """Width of an embedded instance; a multiple of `heads`."""
    heads: Count = 4
    """Attention heads."""

    def network(self) -> Transformer:
        """Return the network that the parameters describe.

        Raises:
            ConfigError: the width cannot be shared among the heads.
        """
        if self.hidden % self.heads:
            raise ConfigError(f"transmil: hidden = {self.hidden} is no multiple of heads = {self.heads}")
        return Transformer(hidden=self.hidden, heads=self.heads)

    def attention(self, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        """Return per bag the weight of each instance (n,), summing to 1."""
        network = self.network()
        return self.per_instance_weights(bags, lambda batch: network.weights(self.parameters_, batch))
