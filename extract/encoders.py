"""The frozen encoder: images in [0, 1] go in, one feature vector per image comes out."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from extract.architectures import PENULTIMATE, Architecture, find_architecture
from extract.checkpoints import find_checkpoint, load_strictly
from extract.weights_description import WeightsDescription
from pipeline.bags import Recipe
from pipeline.errors import ConfigError
from pipeline.processor import has_native_bfloat16

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_ROWS = {"cpu": 32, "cuda": 128}
"""Images per forward pass. Libraries choose their kernels by shape and so round float32 differently for other
numbers of rows; a fixed number, the last pass filled up with zeros, gives the same bytes whatever comes together.
"""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A network in inference mode with everything that must be known to repeat its features.

    Attributes:
        architecture: the row of the table.
        layer: the layer that is read, `penultimate` or a mid layer.
        description: how the weights want their images; `embed` applies it.
        weights_name: as the configuration names them.
        weights_sha256: hash of the weights.
        precision: `float32`, `bfloat16` or `float16`.
        device: where the network lies.
        network: maps (n, 3, height, width) to features or to a feature map.
        is_compiled: whether torch.compile rewrites it at the first pass.
    """

    architecture: Architecture
    layer: str
    description: WeightsDescription
    weights_name: str
    weights_sha256: str
    precision: str
    device: torch.device
    network: nn.Module
    is_compiled: bool = False

    @property
    def name(self) -> str:
        """Name of the architecture."""
        return self.architecture.name

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.architecture.dim_of(self.layer)

    @property
    def rows(self) -> int:
        """Images per forward pass; `embed` fills the last pass up to it."""
        return _ROWS.get(self.device.type, 32)

    def recipe(self, preprocessing: Mapping[str, Any]) -> Recipe:
        """Return what a bag must say about features of this encoder; the normalisation is added."""
        return Recipe(
            encoder=self.name,
            layer=self.layer,
            weights_name=self.weights_name,
            weights_sha256=self.weights_sha256,
            precision=self.precision,
            preprocessing={**preprocessing, "normalisation": self.description.normalisation},
        )

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: float (n, 3, height, width), n at least 1, in [0, 1], black to white; or (n, 1, height,
                width) for three equal channels. The weights' own value range, mean, std and channel order are
                applied here.

        Returns:
            float32 (n, dim) on the encoder's device, the same bytes for an image whatever it comes with.
        """
        features: Tensor = torch.cat([self._forward(chunk) for chunk in images.split(self.rows)])
        return features

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        low, high = self.description.value_range
        mean, std = (
            torch.tensor(v, dtype=torch.float32) for v in (self.description.mean, self.description.std)
        )
        shape = (1, 3, 1, 1)
        scale, shift = (high - low) / std, (low - mean) / std
        return scale.view(shape).to(self.device), shift.view(shape).to(self.device)

    def normalise(self, images: Tensor) -> Tensor:
        """Turn images in [0, 1] into what the weights were trained on, channels last."""
        if self.description.channel_order == "BGR":
            images = images.flip(1)
        scale, shift = self._scale_and_shift
        normalised: Tensor = torch.addcmul(
            shift, images.to(self.device, torch.float32, non_blocking=True), scale
        )
        channels_last: Tensor = normalised.contiguous(memory_format=torch.channels_last)
        return channels_last

    def _forward(self, images: Tensor) -> Tensor:
        real = len(images)
        inputs = self.normalise(images)
        if real < self.rows:
            inputs = torch.cat([inputs, inputs.new_zeros(self.rows - real, *inputs.shape[1:])])
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        dtype = PRECISIONS[self.precision]
        with _exact(), torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            features = self.network(inputs)
        return _pooled(features[:real])

    @torch.inference_mode()
    def embed_plainly(self, images: Tensor) -> Tensor:
        """Embed images in float32 and without torch.compile, as the reference of `embed`; same arguments."""
        with _exact():
            return _pooled(self.network.forward(self.normalise(images)))


def _exact() -> AbstractContextManager[None]:
    """Keep a CUDA device from choosing another kernel each time, and from rounding float32 to 10 bits."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def _pooled(features: Tensor) -> Tensor:
    """Return float32 (n, dim): the features, or the mean over their map."""
    found = features.float()
    return found if found.ndim == 2 else found.mean((2, 3))


def load_encoder(
    name: str,
    weights: str,
    *,
    layer: str = PENULTIMATE,
    precision: str = "auto",
    device: str = "auto",
    compile_network: bool = False,
) -> Encoder:
    """Build an encoder of the table with frozen weights, loaded strictly.

    Args:
        name: a name of `extract.architectures.ARCHITECTURES`.
        weights: `embedded`, `random:<seed>`, a weight file or a torchvision name (`IMAGENET1K_V1`).
        layer: `penultimate`, or a mid layer of that architecture.
        precision: `float32`, `bfloat16`, `float16`, or `auto` for the fastest that the device has natively.
        device: a torch device, or `auto` for CUDA where there is one.
        compile_network: let torch.compile rewrite the network.

    Raises:
        ConfigError: the name, layer, precision or device does not exist.
        WeightsNotFoundError: the weights are neither on disk nor obtainable.
        WeightsError: the weights do not fit.
    """
    architecture = find_architecture(name)
    architecture.dim_of(layer)
    place = choose_device(device)
    chosen = choose_precision(precision, place)
    checkpoint = find_checkpoint(architecture, weights)
    network = architecture.build()
    load_strictly(network, architecture, checkpoint)
    network = _up_to(network, layer).eval().requires_grad_(requires_grad=False)
    network = network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile_network:
        network.compile(dynamic=False)  # every pass has the same shape
    return Encoder(
        architecture=architecture,
        layer=layer,
        description=checkpoint.description,
        weights_name=checkpoint.name,
        weights_sha256=checkpoint.sha256,
        precision=chosen,
        device=place,
        network=network,
        is_compiled=compile_network,
    )


def choose_device(device: str) -> torch.device:
    """Return the device of that name, or for `auto` CUDA where there is one.

    Raises:
        ConfigError: there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device {device!r}: expected 'auto', 'cpu' or 'cuda'") from error
    if place.type not in _ROWS:
        raise ConfigError(f"device {device!r}: expected 'auto', 'cpu' or 'cuda'")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device {device!r}: this machine has no CUDA device that torch {torch.__version__} sees"
        )
    return place


def choose_precision(precision: str, device: torch.device) -> str:
    """Return the precision of that name, or for `auto` the fastest that the device computes natively.

    Raises:
        ConfigError: it is none of `auto`, `float32`, `bfloat16`, `float16`, or is float16 on a CPU.
    """
    if precision == "auto":
        return _native_precision(device)
    if precision == "float16" and device.type == "cpu":
        raise ConfigError(
            "precision 'float16' on cpu: expected auto, float32 or bfloat16; CPUs emulate float16 several times more "
            "slowly than they compute float32"
        )
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r}: expected auto or one of {', '.join(PRECISIONS)}")
    return precision


def _native_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if has_native_bfloat16() else "float32"


def _up_to(network: nn.Module, layer: str) -> nn.Module:
    return network if layer == PENULTIMATE else _MidLayer(network, layer)


class _MidLayer(nn.Module):
    """The modules of a network up to and with a named one, run in their order."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        first, _, inner = layer.partition(".")
        for name, child in network.named_children():
            if name == first and inner:
                self.stages.append(_MidLayer(child, inner).stages)
            else:
                self.stages.append(child)
            if name == first:
                break

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stages(images)
        return features
