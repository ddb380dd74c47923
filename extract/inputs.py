"""Turn crops and slabs in HU into images in [0, 1], as batched tensors on the encoder's device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from extract.card_input import prepared
from extract.config import ExtractSection, InputSection
from extract.encoder_cards import CardInput
from extract.encoders import Readout
from extract.prepare import Preparation
from extract.reference import level_hu
from extract.region_masks import coverage, draw_regions
from extract.region_pooling import RIM, drawn_regions
from extract.slab_squares import SlabSquares
from extract.squares import Squares, cut, squares_of, within
from extract.volumes import AIR_HU
from pipeline.slices import PhaseSlices

_CROPS_AT_ONCE = 32
_OF_A_SLAB = {
    2: "mean over the depth, each slice of the scan weighted by the part of it that it fills",
    3: "planes evenly spaced through the depth, interpolated linearly between the slices of the scan",
}


def preprocessing(section: ExtractSection, regions: Sequence[str], dims: int = 2) -> Mapping[str, Any]:
    """Describe the preprocessing of a scan and the pooling of feature maps, as plain JSON values for a bag's recipe.

    Args:
        section: of the configuration.
        regions: that are read.
        dims: 3 for an encoder of slabs, 2 for one of slices.
    """
    prepared = dict(Preparation.of(section).as_json())
    del prepared["side_mm"]  # it follows from the scales
    if prepared.pop("slab", None):
        prepared["slab"] = f"{_OF_A_SLAB[dims]}; beyond the scan its first or last slice goes on"
    # Slices have no planes: without the key their bags are those of a release without slabs.
    left_out = {"slab_planes"} if dims == 2 else set()
    prepared.pop("radiomics", None)  # they are no features of the encoder
    return {
        "crop": "square around the largest lesion of the slice",
        **prepared,
        "input": section.input.model_dump(mode="json", exclude=left_out),
        "regions": list(regions),
        "rim_mm": section.rim_mm if RIM in regions else None,
    }


def regions_left_out(section: ExtractSection, readout: Readout) -> str | None:
    """Say which regions cannot be had, because slices are chosen without a mask of the tumour; None where all can."""
    left_out = [region for region in section.regions if region not in section.regions_read]
    if not left_out:
        return None
    return (
        f"regions {', '.join(left_out)} need a mask of the tumour, and [extract.slices] which = "
        f"'{section.slices.which}' asks for none: the bags hold {', '.join(readout.regions)} only"
    )


@torch.inference_mode()
def make_images(
    slices: PhaseSlices,
    section: InputSection,
    device: torch.device,
    card: CardInput | None = None,
    *,
    dims: int = 2,
) -> Tensor:
    """Window and resize the crops or slabs of one phase, once per scale.

    Args:
        slices: n crops, as wide as the largest scale, with the planes of the deepest one.
        section: scales, windows and size of the images.
        device: where the tensors are made.
        card: what is done to the HU instead of windowing and resizing.
        dims: 3 for the planes of slabs; 2 for slices, and for slabs their mean.

    Returns:
        float32 (scales * n, channels, size_px, size_px), of planes (scales * n, channels, slab_planes, size_px, size_px), in
        [0, 1], scale after scale; one channel where all three are the same, else three. With a card the channels, the size
        and the values that it says.
    """
    zero_hu = level_hu(slices, section)
    images = []
    for squares in squares_of(slices, section):
        for hu in _hu_of(slices, squares, section, device, dims=dims):
            if card is not None:
                images.append(prepared(hu if dims == 2 else hu.unsqueeze(1), card))
            else:
                images.append(_shown(hu, section, zero_hu, dims=dims))
    return torch.cat(images)


@torch.inference_mode()
def make_coverage(
    slices: PhaseSlices, section: ExtractSection, readout: Readout, device: torch.device, *, dims: int = 2
) -> Tensor | None:
    """Find how much of each cell of the feature maps lies in the lesion and the rim, for the images of `make_images`.

    Returns:
        float32 (scales * n, r, cells) as `extract.region_pooling.pooled` wants it; None where no region needs a mask.
    """
    regions = drawn_regions(readout.regions)
    if not regions:
        return None
    in_slices, in_slabs = _drawn(slices, section, regions)
    shares = []
    for squares in squares_of(slices, section.input):
        if squares.box.depth_mm is None:
            drawn = [
                cut(in_slices[:, i], squares.middles, squares.size, 0, device) for i in range(len(regions))
            ]
            parts = torch.stack(drawn, dim=1).split(_CROPS_AT_ONCE)
        else:
            slabs = SlabSquares(slices, squares, _n_parts(section.input, dims), device)
            found = (slabs.shares(i, in_slabs) for i in range(len(slices)))
            parts = tuple((one if dims == 3 else one.squeeze(1))[None] for one in found)
        shares += [coverage(part, readout.grids) for part in parts]
    return torch.cat(shares)


def _drawn(
    slices: PhaseSlices, section: ExtractSection, regions: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw regions on the crops (n, r, rows, columns) and on the planes of slabs (r, planes, rows, columns), where wanted."""
    crops, planes = np.empty((0, 0, 0, 0), dtype=np.bool_), np.empty((0, 0, 0, 0), dtype=np.bool_)
    if any(box.depth_mm is None for box in section.input.boxes.values()):
        crops = draw_regions(slices.masks, slices.spacing_mm, regions, section.rim_mm)
    if slices.planes is not None:
        spacing_mm = (slices.source.spacing_mm[2], *slices.spacing_mm)
        (planes,) = draw_regions(slices.planes.masks[None], spacing_mm, regions, section.rim_mm)
    return crops, planes


def _n_parts(section: InputSection, dims: int) -> int:
    """Return how many planes are made of a slab: those of a 3D encoder, or the mean that a 2D encoder sees."""
    return section.slab_planes if dims == 3 else 1


def _hu_of(
    slices: PhaseSlices, squares: Squares, section: InputSection, device: torch.device, *, dims: int
) -> Iterator[Tensor]:
    """Yield float32 (some, planes, rows, columns) in HU of the crops or slabs of a scale."""
    if squares.box.depth_mm is not None:
        slabs = SlabSquares(slices, squares, _n_parts(section, dims), device)
        at_once = max(1, _CROPS_AT_ONCE // slabs.n_parts)
        for start in range(0, len(slices), at_once):
            some = range(start, min(start + at_once, len(slices)))
            yield torch.stack([slabs.hu(i, section.outside_mask_hu) for i in some])
        return
    planes = [cut(plane, squares.middles, squares.size, AIR_HU, device) for plane in _planes(slices, section)]
    hu, inside = torch.stack(planes, dim=1), None
    if section.outside_mask_hu is not None:
        inside = cut(slices.masks, squares.middles, squares.size, 0, device).unsqueeze(1)
    for start in range(0, len(slices), _CROPS_AT_ONCE):
        part = slice(start, start + _CROPS_AT_ONCE)
        yield within(hu[part], None if inside is None else inside[part], section.outside_mask_hu)


def _planes(slices: PhaseSlices, section: InputSection) -> list[NDArray[np.int16]]:
    """Return the slices shown in the channels, from below to above."""
    if section.planes == 1 or slices.neighbours is None:
        return [slices.crops_hu]
    return [slices.neighbours[:, 0], slices.crops_hu, slices.neighbours[:, 1]]


def _shown(hu: Tensor, section: InputSection, zero_hu: float, *, dims: int) -> Tensor:
    """Turn (n, planes, rows, columns) in HU into images, levels about `zero_hu`.

    The planes are behind a channel per window where the encoder sees slabs, else channels as windows are.
    """
    shown = torch.cat([_windowed(hu, zero_hu + level, width) for level, width in section.windows], dim=1)
    size = (section.size_px, section.size_px)
    resized: Tensor = functional.interpolate(shown, size, mode="bilinear", antialias=True).clamp_(0, 1)
    return resized.unflatten(1, (len(section.windows), -1)) if dims == 3 else resized


def _windowed(hu: Tensor, level: float, width: float) -> Tensor:
    return hu.sub(level - width / 2).div_(width).clamp_(0, 1)
