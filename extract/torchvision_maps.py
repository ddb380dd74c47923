"""The door for torchvision's networks: their feature maps, read at named layers and no further."""

import difflib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, fx, nn

from extract.architectures import PENULTIMATE, Architecture
from extract.feature_maps import FeatureMap
from extract.vision import torchvision_models
from pipeline.errors import ConfigError

_CLASS_TOKEN = 1
"""Tokens before the patch tokens of torchvision's vision transformers."""


class TorchvisionMaps(nn.Module):
    """A network of the table that gives the maps of some of its layers; what comes after the last of them is not run."""

    def __init__(self, network: nn.Module, architecture: Architecture, layers: Sequence[str]) -> None:
        """Take a network whose weights are loaded.

        Raises:
            ConfigError: it has no such layer; the nearest one is named.
        """
        super().__init__()
        for layer in layers:
            _check_layer(network, architecture, layer)
        self.places = {layer: architecture.module_of(layer) for layer in layers}
        self.channels_last = architecture.channels_last
        self.graph = _cut_off(network, self.places.values())
        tail = architecture.after_mean
        self.tail = network.get_submodule(tail) if tail and PENULTIMATE in layers else None

    def forward(self, images: Tensor) -> tuple[FeatureMap, ...]:
        """Return the maps of normalised images (n, 3, height, width) or slabs (n, channels, planes, height, width), one per layer.

        Raises:
            ConfigError: the output of a layer is no map.
        """
        return self._maps(self.graph(images))

    def plainly(self, images: Tensor) -> tuple[FeatureMap, ...]:
        """Return the same without torch.compile."""
        return self._maps(self.graph.forward(images))

    def _maps(self, found: Mapping[str, Tensor]) -> tuple[FeatureMap, ...]:
        return tuple(self._map(layer, found[place]) for layer, place in self.places.items())

    def _map(self, layer: str, values: Tensor) -> FeatureMap:
        if values.ndim in (4, 5):
            maps = values.movedim(-1, 1) if self.channels_last else values
            return FeatureMap(layer, maps, after_mean=self._tail if layer == PENULTIMATE else None)
        if values.ndim == 3:
            side = math.isqrt(values.shape[1] - _CLASS_TOKEN)
            return FeatureMap(layer, values, grid=(side, side), n_prefix=_CLASS_TOKEN)
        raise ConfigError(
            f"layer {layer!r}: expected one that gives a map or tokens, found values of shape {tuple(values.shape)}"
        )

    def _tail(self, means: Tensor) -> Tensor:
        if self.tail is None:
            return means
        finished: Tensor = self.tail(means[:, :, None, None]).flatten(1)
        return finished


def _check_layer(network: nn.Module, architecture: Architecture, layer: str) -> None:
    named = (PENULTIMATE, *architecture.layers)
    every = [name for name, _ in network.named_modules() if name and not name.startswith(architecture.head)]
    known = named if architecture.channels_last else (*named, *every)
    if layer in known:
        return
    near = difflib.get_close_matches(layer, known, n=1)
    hint = f"nearest: {near[0]!r}; " if near else ""
    raise ConfigError(
        f"encoder {architecture.name} has no layer {layer!r}; {hint}expected one such as {', '.join(named)}"
    )


def _cut_off(network: nn.Module, places: Iterable[str]) -> fx.GraphModule:
    """Return the network up to the last of some places, as a graph that gives the output of each."""
    torchvision_models()  # makes the package importable
    from torchvision.models.feature_extraction import create_feature_extractor  # noqa: PLC0415

    graph: fx.GraphModule = create_feature_extractor(network.eval(), {place: place for place in places})
    _keep_outputs(graph)
    return graph


def _keep_outputs(graph: fx.GraphModule) -> None:
    """Let no operation that follows a wanted layer write into its output, as a ReLU in place would."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    for wanted in output.args[0].values():
        for user in tuple(wanted.users):
            if user.op == "call_module" and hasattr(graph.get_submodule(user.target), "inplace"):
                setattr(graph.get_submodule(user.target), "inplace", False)  # noqa: B010 - Module knows no such name
            if user.kwargs.get("inplace"):
                user.kwargs = {**user.kwargs, "inplace": False}
            if user.target is operator.iadd:
                user.target = operator.add
    graph.recompile()
