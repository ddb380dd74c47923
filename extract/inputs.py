"""Turn crops in HU into images in [0, 1], as batched tensors on the encoder's device."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from extract.config import ExtractSection, InputSection
from extract.crops import cut_squares, size_px
from extract.prepare import Preparation
from extract.volumes import AIR_HU
from pipeline.slices import PhaseSlices

_CROPS_AT_ONCE = 32


def preprocessing(section: ExtractSection) -> Mapping[str, Any]:
    """Describe the preprocessing of a scan, as plain JSON values for a bag's recipe."""
    prepared = dict(Preparation.of(section).as_json())
    del prepared["side_mm"]  # it follows from the scales
    return {
        "crop": "square around the largest lesion of the slice",
        **prepared,
        "input": section.input.model_dump(mode="json"),
    }


@torch.inference_mode()
def make_images(slices: PhaseSlices, section: InputSection, device: torch.device) -> Tensor:
    """Window and resize the crops of one phase, once per scale.

    Args:
        slices: n crops, as wide as the largest scale.
        section: scales, windows and size of the images.
        device: where the tensors are made.

    Returns:
        float32 (scales * n, channels, size_px, size_px) in [0, 1], scale after scale; one channel where all three
        are the same, else three.
    """
    planes, masks, middles = _planes(slices, section), slices.masks, slices.middle
    if middles is None:
        middles = np.tile(np.array(masks.shape[1:], dtype=np.int32) // 2, (len(slices), 1))
    images = []
    for side in section.scales_mm.values():
        size = planes[0].shape[1:] if side == "whole" else size_px(side, slices.spacing_mm)
        around = np.tile(np.array(size) // 2, (len(slices), 1)) if side == "whole" else middles
        cut = torch.stack([_cut(plane, around, size, AIR_HU, device) for plane in planes], dim=1)
        inside = None
        if section.outside_mask_hu is not None:
            inside = _cut(masks, around, size, 0, device).unsqueeze(1)
        for start in range(0, len(slices), _CROPS_AT_ONCE):
            part = slice(start, start + _CROPS_AT_ONCE)
            images.append(_shown(cut[part], None if inside is None else inside[part], section))
    return torch.cat(images)


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


def _shown(planes: Tensor, inside: Tensor | None, section: InputSection) -> Tensor:
    """Turn (n, planes, rows, columns) in HU into images of one channel per window or plane."""
    hu = planes.float()
    if inside is not None and section.outside_mask_hu is not None:
        hu = torch.where(inside, hu, torch.tensor(section.outside_mask_hu, device=hu.device))
    shown = torch.cat([_windowed(hu, level, width) for level, width in section.windows], dim=1)
    size = (section.size_px, section.size_px)
    resized: Tensor = functional.interpolate(shown, size, mode="bilinear", antialias=True).clamp_(0, 1)
    return resized


def _windowed(hu: Tensor, level: float, width: float) -> Tensor:
    return hu.sub(level - width / 2).div_(width).clamp_(0, 1)
