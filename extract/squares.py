"""The squares of each scale, cut out of planes as tensors on a device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.config import InputSection
from extract.crops import cut_squares, middles_of, size_px
from extract.scales import Box
from pipeline.slices import PhaseSlices


@dataclass(frozen=True, eq=False)
class Squares:
    """What a scale cuts out of the slices of a phase.

    Attributes:
        box: of the scale.
        middles: int (n, 2), row and column around which it is cut, counted in the crops.
        size: rows and columns of the square.
    """

    box: Box
    middles: NDArray[np.integer]
    size: tuple[int, ...]


def squares_of(slices: PhaseSlices, section: InputSection) -> Iterator[Squares]:
    """Yield the squares of each scale, in the order of the configuration."""
    shape = slices.crops_hu.shape[1:]
    for box in section.boxes.values():
        if box.side_mm is None:
            yield Squares(box, np.tile(np.array(shape) // 2, (len(slices), 1)), shape)
        else:
            yield Squares(box, middles_of(slices), size_px(box.side_mm, slices.spacing_mm))


def cut(
    planes: NDArray[Any], middles: NDArray[Any], size: tuple[int, ...], fill: float, device: torch.device
) -> Tensor:
    """Cut a rectangle of `size` out of each of (n, rows, columns), around its own middle (n, 2)."""
    if planes.shape[1:] != size or (middles != np.array(size) // 2).any():
        planes = cut_squares(planes, middles, (size[0], size[1]), fill)
    squares = torch.from_numpy(np.ascontiguousarray(planes))
    return squares.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else squares


def within(hu: Tensor, inside: Tensor | None, outside_mask_hu: float | None) -> Tensor:
    """Return HU as float32, what lies outside of the mask set to a value where one is given."""
    hu = hu.float()
    if inside is None or outside_mask_hu is None:
        return hu
    return torch.where(inside, hu, torch.tensor(outside_mask_hu, device=hu.device))
