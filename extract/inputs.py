"""Turn crops in HU into images in [0, 1], as batched tensors on the encoder's device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from extract.card_input import prepared
from extract.config import ExtractSection, InputSection
from extract.crops import cut_squares, size_px
from extract.encoder_cards import CardInput
from extract.encoders import Readout
from extract.prepare import Preparation
from extract.reference import level_hu
from extract.region_masks import coverage, draw_regions
from extract.region_pooling import RIM, drawn_regions
from extract.volumes import AIR_HU
from pipeline.slices import PhaseSlices

_CROPS_AT_ONCE = 32


def preprocessing(section: ExtractSection, regions: Sequence[str]) -> Mapping[str, Any]:
    """Describe the preprocessing of a scan and the pooling of feature maps, as plain JSON values for a bag's recipe."""
    prepared = dict(Preparation.of(section).as_json())
    del prepared["side_mm"]  # it follows from the scales
    return {
        "crop": "square around the largest lesion of the slice",
        **prepared,
        "input": section.input.model_dump(mode="json"),
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
    slices: PhaseSlices, section: InputSection, device: torch.device, card: CardInput | None = None
) -> Tensor:
    """Window and resize the crops of one phase, once per scale.

    Args:
        slices: n crops, as wide as the largest scale.
        section: scales, windows and size of the images.
        device: where the tensors are made.
        card: what is done to the HU instead of windowing and resizing.

    Returns:
        float32 (scales * n, channels, size_px, size_px) in [0, 1], scale after scale; one channel where all three
        are the same, else three. With a card the channels, the size and the values that it says.
    """
    planes, masks = _planes(slices, section), slices.masks
    zero_hu = level_hu(slices, section)
    images = []
    for around, size in _squares(slices, section):
        cut = torch.stack([_cut(plane, around, size, AIR_HU, device) for plane in planes], dim=1)
        inside = None
        if section.outside_mask_hu is not None:
            inside = _cut(masks, around, size, 0, device).unsqueeze(1)
        for start in range(0, len(slices), _CROPS_AT_ONCE):
            part = slice(start, start + _CROPS_AT_ONCE)
            hu = _within(cut[part], None if inside is None else inside[part], section)
            images.append(_shown(hu, section, zero_hu) if card is None else prepared(hu, card))
    return torch.cat(images)


@torch.inference_mode()
def make_coverage(
    slices: PhaseSlices, section: ExtractSection, readout: Readout, device: torch.device
) -> Tensor | None:
    """Find how much of each cell of the feature maps lies in the lesion and the rim, for the images of `make_images`.

    Returns:
        float32 (scales * n, r, cells) as `extract.region_pooling.pooled` wants it; None where no region needs a mask.
    """
    regions = drawn_regions(readout.regions)
    if not regions:
        return None
    drawn = draw_regions(slices.masks, slices.spacing_mm, regions, section.rim_mm)
    shares = []
    for around, size in _squares(slices, section.input):
        cut = torch.stack([_cut(drawn[:, i], around, size, 0, device) for i in range(len(regions))], dim=1)
        shares += [coverage(part, readout.grids) for part in cut.split(_CROPS_AT_ONCE)]
    return torch.cat(shares)


def _squares(
    slices: PhaseSlices, section: InputSection
) -> Iterator[tuple[NDArray[np.integer], tuple[int, ...]]]:
    """Yield the middles (n, 2) and the size of the squares of each scale, in pixels of the crops."""
    shape, middles = slices.crops_hu.shape[1:], slices.middle
    if middles is None:
        middles = np.tile(np.array(shape, dtype=np.int32) // 2, (len(slices), 1))
    for side in section.scales_mm.values():
        if side == "whole":
            yield np.tile(np.array(shape) // 2, (len(slices), 1)), shape
        else:
            yield middles, size_px(side, slices.spacing_mm)


def _planes(slices: PhaseSlices, section: InputSection) -> list[NDArray[np.int16]]:
    """Return the slices shown in the channels, from below to above."""
    if section.planes == 1 or slices.neighbours is None:
        return [slices.crops_hu]
    return [slices.neighbours[:, 0], slices.crops_hu, slices.neighbours[:, 1]]


def _cut(
    planes: NDArray[Any], middles: NDArray[Any], size: tuple[int, ...], fill: float, device: torch.device
) -> Tensor:
    if planes.shape[1:] != size:
        planes = cut_squares(planes, middles, (size[0], size[1]), fill)
    squares = torch.from_numpy(np.ascontiguousarray(planes))
    return squares.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else squares


def _within(planes: Tensor, inside: Tensor | None, section: InputSection) -> Tensor:
    """Return (n, planes, rows, columns) in HU, what lies outside of the mask set to a value where one is given."""
    hu = planes.float()
    if inside is None or section.outside_mask_hu is None:
        return hu
    return torch.where(inside, hu, torch.tensor(section.outside_mask_hu, device=hu.device))


def _shown(hu: Tensor, section: InputSection, zero_hu: float) -> Tensor:
    """Turn (n, planes, rows, columns) in HU into images of one channel per window or plane, levels about `zero_hu`."""
    shown = torch.cat([_windowed(hu, zero_hu + level, width) for level, width in section.windows], dim=1)
    size = (section.size_px, section.size_px)
    resized: Tensor = functional.interpolate(shown, size, mode="bilinear", antialias=True).clamp_(0, 1)
    return resized


def _windowed(hu: Tensor, level: float, width: float) -> Tensor:
    return hu.sub(level - width / 2).div_(width).clamp_(0, 1)
