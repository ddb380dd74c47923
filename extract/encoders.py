"""The frozen encoder: images or slabs in [0, 1] go in, one feature vector for each comes out."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from extract.architectures import PENULTIMATE, find_architecture
from extract.checkpoints import find_checkpoint, load_strictly
from extract.encoder_cards import CardInput
from extract.feature_maps import FeatureMap, FeatureNetwork
from extract.region_pooling import (
    Grid,
    check_regions,
    default_regions,
    drawn_regions,
    feature_blocks,
    grids,
    pooled,
)
from extract.torchvision_maps import TorchvisionMaps
from extract.weights_description import NONZERO, WeightsDescription
from pipeline.bags import WHOLE, FeatureBlock, Recipe
from pipeline.errors import ConfigError
from pipeline.processor import has_native_bfloat16

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
MEMORY_FORMATS: Mapping[int, torch.memory_format] = {2: torch.channels_last, 3: torch.channels_last_3d}
"""In which convolutions are fastest, by the axes of an image."""
_ROWS = {2: {"cpu": 32, "cuda": 128}, 3: {"cpu": 4, "cuda": 16}}
"""Images, or slabs, per forward pass. Libraries choose their kernels by shape and so round float32 differently for other
numbers of rows; a fixed number, the last pass filled up with zeros, gives the same bytes whatever comes together.
"""

_LEAST_DEVIATION = 1e-6
"""Of a slab of one value, which is centred only."""


@dataclass(frozen=True)
class Readout:
    """What the features of an encoder are made of, for images or slabs of one size.

    Attributes:
        regions: of `extract.region_pooling`, in the order in which they stand.
        grids: cells of the map of each layer along its axes.
        blocks: which columns of the features look at what.
    """

    regions: tuple[str, ...]
    grids: tuple[Grid, ...]
    blocks: tuple[FeatureBlock, ...]


@dataclass(frozen=True, eq=False)
class Encoder:
    """A network in inference mode with everything that must be known to repeat its features.

    Attributes:
        name: of the network.
        layers: those that are read, `penultimate` or mid layers.
        regions: what the maps are averaged over; empty for the class token, or the whole crop where there is none.
        description: how the weights want their images; `embed` applies it.
        weights_name: as the configuration names them.
        weights_sha256: hash of the weights.
        precision: `float32`, `bfloat16` or `float16`.
        device: where the network lies.
        network: maps normalised images (n, channels, height, width), or slabs (n, channels, planes, height, width), to one
            feature map per layer.
        is_compiled: whether torch.compile rewrites it at the first pass.
        dims: 2 for a network of slices, 3 for one of slabs.
    """

    name: str
    layers: tuple[str, ...]
    regions: tuple[str, ...]
    description: WeightsDescription
    weights_name: str
    weights_sha256: str
    precision: str
    device: torch.device
    network: FeatureNetwork
    is_compiled: bool = False
    dims: int = 2

    @property
    def card_input(self) -> CardInput | None:
        """How crops become what the network is given, where a card says it and not [extract.input]."""
        return None

    @property
    def rows(self) -> int:
        """Images or slabs per forward pass; `embed` fills the last pass up to it."""
        return _ROWS[self.dims].get(self.device.type, _ROWS[self.dims]["cpu"])

    def recipe(self, preprocessing: Mapping[str, Any]) -> Recipe:
        """Return what a bag must say about features of this encoder; the normalisation is added."""
        return Recipe(
            encoder=self.name,
            layer=", ".join(self.layers),
            weights_name=self.weights_name,
            weights_sha256=self.weights_sha256,
            precision=self.precision,
            preprocessing={**preprocessing, "normalisation": self.description.normalisation},
        )

    @torch.inference_mode()
    def readout(self, size_px: int, n_planes: int = 16) -> Readout:
        """Say what the features of images of `size_px` rows and columns are made of, or of slabs of `n_planes` such.

        Raises:
            ConfigError: the network takes no images of that size, a layer gives no map, or not what a region needs.
        """
        try:
            maps = self._plain_maps(torch.zeros(1, 1, *self._shape(size_px, n_planes)))
        except (
            AssertionError,
            RuntimeError,
        ) as error:  # what torch raises for a size of which nothing is left
            said = str(error).strip().partition("\n")[0]
            planes = f", slab_planes = {n_planes}" if self.dims == 3 else ""
            raise ConfigError(
                f"[extract.input] size_px = {size_px}{planes}: expected a size that {self.name} takes, found: {said}"
            ) from error
        regions = self.regions or default_regions(maps)
        check_regions(maps, regions, self.name)
        return Readout(regions, grids(maps), feature_blocks(maps, regions))

    def _shape(self, size_px: int, n_planes: int) -> tuple[int, ...]:
        return (size_px, size_px) if self.dims == 2 else (n_planes, size_px, size_px)

    @torch.inference_mode()
    def embed(self, images: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Embed images or slabs.

        Args:
            images: float (n, 3, height, width), n at least 1, in [0, 1], black to white; or (n, 1, height,
                width) for three equal channels; of slabs with the planes before the height. The weights' own value range,
                mean, std and channel order, or their scaling, are applied here.
            coverage: float32 (n, r, cells), the share of each cell of the maps that lies in the regions that need a
                mask (`extract.region_pooling.pooled`); None leaves these regions out, and reads the whole crop
                where no other is wanted.

        Returns:
            float32 (n, d) on the encoder's device, the same bytes for an image whatever it comes with.
        """
        parts = coverage.split(self.rows) if coverage is not None else [None] * -(-len(images) // self.rows)
        chunks = zip(images.split(self.rows), parts, strict=True)
        features: Tensor = torch.cat([self._forward(chunk, part) for chunk, part in chunks])
        return features

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        low, high = self.description.value_range
        mean, std = (
            torch.tensor(v, dtype=torch.float32) for v in (self.description.mean, self.description.std)
        )
        shape = (1, 3, *(1,) * self.dims)
        scale, shift = (high - low) / std, (low - mean) / std
        return scale.view(shape).to(self.device), shift.view(shape).to(self.device)

    def normalise(self, images: Tensor) -> Tensor:
        """Turn images or slabs in [0, 1] into what the weights were trained on, channels last."""
        if self.description.scaling == NONZERO:
            moved = images.to(self.device, torch.float32, non_blocking=True)
            return self._channels_last(torch.stack([scaled_by_nonzero(one) for one in moved]))
        if self.description.channel_order == "BGR":
            images = images.flip(1)
        scale, shift = self._scale_and_shift
        normalised: Tensor = torch.addcmul(
            shift, images.to(self.device, torch.float32, non_blocking=True), scale
        )
        return self._channels_last(normalised)

    def _channels_last(self, inputs: Tensor) -> Tensor:
        return inputs.contiguous(memory_format=MEMORY_FORMATS[self.dims])

    def _forward(self, images: Tensor, coverage: Tensor | None) -> Tensor:
        real = len(images)
        inputs = self._channels_last(_filled_up(self.normalise(images), self.rows))
        shares = None if coverage is None else _filled_up(coverage.to(self.device, torch.float32), self.rows)
        dtype = PRECISIONS[self.precision]
        with exact_kernels():
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
                maps = self.network(inputs)
            return self._pooled(maps, shares)[:real]

    def _pooled(self, maps: Sequence[FeatureMap], coverage: Tensor | None) -> Tensor:
        regions = self.regions or default_regions(maps)
        if coverage is None:
            drawn = drawn_regions(regions)
            regions = tuple(region for region in regions if region not in drawn) or (WHOLE,)
        return pooled(maps, regions, coverage)

    @torch.inference_mode()
    def embed_plainly(self, images: Tensor) -> Tensor:
        """Embed images in float32 and without torch.compile, as the reference of `embed` without coverage."""
        return self._pooled(self._plain_maps(images), None)

    def _plain_maps(self, images: Tensor) -> tuple[FeatureMap, ...]:
        with exact_kernels():
            return self.network.plainly(self.normalise(images))


def _filled_up(rows: Tensor, n: int) -> Tensor:
    """Return n rows, zeros after those that there are."""
    return rows if len(rows) == n else torch.cat([rows, rows.new_zeros(n - len(rows), *rows.shape[1:])])


def scaled_by_nonzero(slab: Tensor) -> Tensor:
    """Return a slab in [0, 1] less the mean of its voxels above 0, by their deviation; one without any as it is.

    The same as `__itensity_normalize_one_volume__` of MedicalNet, but that zeros are not replaced by noise.
    """
    inside = slab[slab > 0]
    if len(inside) == 0:
        return slab
    deviation, mean = torch.std_mean(inside, correction=0)
    return (slab - mean) / torch.where(deviation > _LEAST_DEVIATION, deviation, 1)


def exact_kernels() -> AbstractContextManager[None]:
    """Keep a CUDA device from choosing another kernel each time, and from rounding float32 to 10 bits."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def load_encoder(
    name: str,
    weights: str,
    *,
    layers: Sequence[str] = (PENULTIMATE,),
    regions: Sequence[str] = (),
    precision: str = "auto",
    device: str = "auto",
    compile_network: bool = False,
) -> Encoder:
    """Build an encoder of the table with frozen weights, loaded strictly.

    Args:
        name: a name of `extract.architectures.ARCHITECTURES`.
        weights: `embedded`, `random:<seed>`, a weight file or a torchvision name (`IMAGENET1K_V1`).
        layers: `penultimate`, or names of modules whose output is a map or tokens.
        regions: of `extract.region_pooling.REGIONS`; none for the class token, or the whole crop where there is none.
        precision: `float32`, `bfloat16`, `float16`, or `auto` for the fastest that the device has natively.
        device: a torch device, or `auto` for CUDA where there is one.
        compile_network: let torch.compile rewrite the network.

    Raises:
        ConfigError: the name, layer, precision or device does not exist.
        WeightsNotFoundError: the weights are neither on disk nor obtainable.
        WeightsError: the weights do not fit.
    """
    architecture = find_architecture(name)
    place = choose_device(device)
    chosen = choose_precision(precision, place)
    checkpoint = find_checkpoint(architecture, weights)
    whole = architecture.build(checkpoint.state)
    load_strictly(whole, architecture, checkpoint)
    network = TorchvisionMaps(whole, architecture, layers).eval().requires_grad_(requires_grad=False)
    memory_format = MEMORY_FORMATS[architecture.dims]
    network = network.to(place, memory_format=memory_format)  # type: ignore[call-overload]
    if compile_network:
        network.graph.compile(dynamic=False)  # every pass has the same shape
    return Encoder(
        name=architecture.name,
        layers=tuple(layers),
        regions=tuple(regions),
        description=checkpoint.description,
        weights_name=checkpoint.name,
        weights_sha256=checkpoint.sha256,
        precision=chosen,
        device=place,
        network=network,
        is_compiled=compile_network,
        dims=architecture.dims,
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
    if place.type not in _ROWS[2]:
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
