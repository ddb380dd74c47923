"""What the doors share: named layers of a network are read as it runs, and turned into feature maps in our orientation."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from extract.architectures import PENULTIMATE
from extract.card_input import turned, turned_back
from extract.checkpoints import some
from extract.encoder_cards import EncoderCard
from extract.feature_maps import FeatureMap
from extract.weight_values import unusable_keys
from pipeline.errors import WeightsError


@dataclass(frozen=True)
class Tokens:
    """How the tokens of a transformer lie.

    Attributes:
        patch_px: of a patch along each axis of the input, in the orientation of the card.
        n_prefix: tokens before those of the patches.
    """

    patch_px: tuple[int, ...]
    n_prefix: int


@dataclass(frozen=True, eq=False)
class Opened:
    """A network that came through a door.

    Attributes:
        network: holds the parameters.
        forward: from inputs to one map a layer of the card, both in the orientation of the card.
    """

    network: nn.Module
    forward: Callable[[Tensor], Sequence[FeatureMap]]


class CardNetwork(nn.Module):
    """A network of a card as a `FeatureNetwork`: inputs and maps have our orientation, whatever the card's is."""

    def __init__(self, card: EncoderCard, opened: Opened) -> None:
        super().__init__()
        self.network = opened.network
        self._orientation, self._forward = card.input.orientation, opened.forward

    def forward(self, inputs: Tensor) -> tuple[FeatureMap, ...]:
        """Return one map a layer of the card.

        Raises:
            WeightsError: the network gives something that the card does not describe.
        """
        return tuple(self._ours(layer) for layer in self._forward(turned(inputs, self._orientation)))

    def plainly(self, inputs: Tensor) -> tuple[FeatureMap, ...]:
        """Return the same without torch.compile, which replaces the call of a module and not its `forward`."""
        return self.forward(inputs)

    def _ours(self, layer: FeatureMap) -> FeatureMap:
        if layer.places is not None and layer.grid is not None:
            places = turned_back(layer.places, self._orientation)
            prefix = layer.values[:, : layer.n_prefix]
            grid = tuple(map(int, places.shape[2:]))
            return replace(layer, values=torch.cat([prefix, places.flatten(2).mT], dim=1), grid=grid)
        if layer.values.ndim > 2:
            return replace(layer, values=turned_back(layer.values, self._orientation))
        return layer


@dataclass(frozen=True, eq=False)
class MapMaker:
    """Makes a feature map of what a layer gives.

    Attributes:
        card: of the network.
        tokens: how tokens lie; None for a network without.
        channels_last: layers give (n, rows, columns, channels).
        after_mean: what the network does to the mean over its last layer; None for nothing.
    """

    card: EncoderCard
    tokens: Tokens | None = None
    channels_last: bool = False
    after_mean: Callable[[Tensor], Tensor] | None = None

    def maps(self, outputs: Sequence[Tensor]) -> tuple[FeatureMap, ...]:
        """Return the feature maps of the layers of the card.

        Raises:
            WeightsError: there are more or fewer, or one has a shape that the card does not describe.
        """
        layers = self.card.output.layers
        if len(outputs) != len(layers):
            raise unlike(self.card, f"{len(layers)} layers ({', '.join(layers)})", f"{len(outputs)}")
        return tuple(map(self._map, layers, outputs))

    def _map(self, layer: str, values: Tensor) -> FeatureMap:
        after_mean = self.after_mean if layer == PENULTIMATE else None
        if values.ndim == 2:
            return FeatureMap(layer, values)
        if values.ndim == 3 and self.tokens is not None:
            grid, n_prefix = self._grid(self.tokens), self.tokens.n_prefix
            expected = n_prefix + math.prod(grid)
            if values.shape[1] != expected:
                raise unlike(self.card, f"{expected} tokens", f"{values.shape[1]} of layer {layer}")
            return FeatureMap(layer, values, grid, n_prefix, after_mean)
        if values.ndim == 2 + self.card.input.dims:
            places = values.movedim(-1, 1) if self.channels_last else values
            return FeatureMap(layer, places, after_mean=after_mean)
        raise unlike(self.card, "vectors, tokens or a map", f"shape {tuple(values.shape)} of layer {layer}")

    def _grid(self, tokens: Tokens) -> tuple[int, ...]:
        return tuple(n // patch for n, patch in zip(self.card.input.size, tokens.patch_px, strict=True))


def layers_read(
    network: nn.Module, maker: MapMaker, run: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Sequence[FeatureMap]]:
    """Return a way to run a network that hands out what the layers of its card give.

    Args:
        network: whose modules are named by `card.output.layers`.
        maker: of the maps.
        run: from inputs to what the layer `penultimate` is.

    Raises:
        WeightsError: a layer is no module of the network.
    """
    names = maker.card.output.layers
    modules = dict(network.named_modules())
    unknown = [name for name in names if name != PENULTIMATE and name not in modules]
    if unknown:
        children = ", ".join(name for name, _ in network.named_children())
        raise unlike(maker.card, f"layer {unknown[0]!r} to be a module of {maker.card.network}", children)
    seen: dict[str, Tensor] = {}
    for name in names:
        if name != PENULTIMATE:
            modules[name].register_forward_hook(_keep_in(seen, name))

    def forward(inputs: Tensor) -> Sequence[FeatureMap]:
        seen[PENULTIMATE] = run(inputs)
        found = [seen[name] for name in names]
        seen.clear()
        return maker.maps(found)

    return forward


def _keep_in(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        seen[name] = output if isinstance(output, Tensor) else output[0]

    return keep


def check_fit(card: EncoderCard, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Refuse weights with a missing, an unexpected or a reshaped key, or one whose numbers would be cast or are not finite.

    Raises:
        WeightsError: card, file, and the keys are named.
    """
    reshaped = [
        f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"
        for key in own.keys() & given.keys()
        if own[key].shape != given[key].shape
    ]
    refuse_keys(card, own.keys() - given.keys(), given.keys() - own.keys(), reshaped)
    for key, fault in sorted(unusable_keys(own, given).items()):
        raise unlike(card, f"usable weights as {key}", fault)


def refuse_keys(
    card: EncoderCard, missing: Collection[str], unexpected: Collection[str], reshaped: Collection[str] = ()
) -> None:
    """Refuse what a library says of the keys of a weight file; nothing is refused where all fit.

    Raises:
        WeightsError: card, file, and the keys are named.
    """
    faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    found = "; ".join(f"{len(keys)} {what}: {some(sorted(keys))}" for what, keys in faults if keys)
    if found:
        raise unlike(card, f"the keys of {card.network}", found)


def unlike(card: EncoderCard, expected: str, found: str) -> WeightsError:
    """Return the error of a file that is not what its card says."""
    return WeightsError(
        f"card {card.name}: {card.file}: expected {expected}, found {found}; put the file there that the card means, or "
        "correct the card"
    )
