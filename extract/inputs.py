"""From crops in HU to images in [0, 1], in batched tensors on the encoder's device."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from extract.config import InputSection
from pipeline.slices import PhaseSlices

_CROPS_AT_ONCE = 32


def preprocessing(section: InputSection) -> Mapping[str, Any]:
    """Describe what happens to a crop, as plain JSON values for a bag's recipe."""
    return {"crop": "square around the largest lesion of the slice", **section.model_dump(mode="json")}


@torch.inference_mode()
def make_images(slices: PhaseSlices, section: InputSection, device: torch.device) -> Tensor:
    """Window and resize the crops of one phase, once per scale.

    Args:
        slices: n crops, as wide as the largest scale.
        section: how.
        device: where the tensors are made.

    Returns:
        float32 (scales * n, 3, size_px, size_px) in [0, 1], scale after scale.
    """
    images = [
        _resized(_windowed(crops, section), slices.spacing_mm, side_mm, section.size_px)
        for side_mm in section.scales_mm.values()
        for crops in _to_device(slices, device).split(_CROPS_AT_ONCE)
    ]
    return torch.cat(images).unsqueeze(1).expand(-1, 3, -1, -1)


def _to_device(slices: PhaseSlices, device: torch.device) -> Tensor:
    crops = torch.from_numpy(slices.crops_hu)
    return crops.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else crops


def _windowed(crops: Tensor, section: InputSection) -> Tensor:
    level, width = section.window
    return crops.float().sub_(level - width / 2).div_(width).clamp_(0, 1)


def _resized(crops: Tensor, spacing_mm: tuple[float, float], side_mm: float, size_px: int) -> Tensor:
    """Cut the middle square of `side_mm` out of (n, rows, columns) and resize it with antialiasing."""
    rows, columns = (max(1, round(side_mm / mm)) for mm in spacing_mm)
    top, left = (crops.shape[1] - rows) // 2, (crops.shape[2] - columns) // 2
    middle = crops[:, top : top + rows, left : left + columns].unsqueeze(1)
    resized = functional.interpolate(middle, (size_px, size_px), mode="bilinear", antialias=True)
    return resized.squeeze(1).clamp_(0, 1)
