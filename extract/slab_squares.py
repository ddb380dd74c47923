"""Slabs as tensors: the squares of all slices around a slice, made into evenly spaced planes, or into their mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.slabs import Stack
from extract.squares import Squares, cut, within
from extract.volumes import AIR_HU
from pipeline.slices import PhaseSlices, SlabPlanes


@dataclass(frozen=True, eq=False)
class SlabSquares:
    """The slabs that a scale with a depth cuts out around the slices of a phase.

    Attributes:
        slices: of the phase, with planes.
        squares: of the scale.
        n_parts: planes that are made of a slab; 1 for its mean.
        device: where the tensors are made.
    """

    slices: PhaseSlices
    squares: Squares
    n_parts: int
    device: torch.device

    def hu(self, i: int, outside_mask_hu: float | None) -> Tensor:
        """Return float32 (n_parts, rows, columns) of the slab around slice i, what lies outside of the mask set to a value."""
        planes, stack = self._planes, self._stack(i)
        inside = None if outside_mask_hu is None else self._cut(i, stack, planes.masks, 0)
        values = within(self._cut(i, stack, planes.hu, AIR_HU), inside, outside_mask_hu)
        return _weighted(stack.shares() if self.n_parts == 1 else stack.interpolated(), values)

    def shares(self, i: int, regions: NDArray[np.bool_]) -> Tensor:
        """Return float32 (r, n_parts, rows, columns): how much of each voxel of the slab around slice i lies in regions.

        Args:
            i: of the slice.
            regions: bool (r, planes, rows, columns), drawn on the planes of the phase.
        """
        stack = self._stack(i)
        found = [self._cut(i, stack, region, 0).float() for region in regions]
        return torch.stack([_weighted(stack.shares(), one) for one in found])

    @property
    def _planes(self) -> SlabPlanes:
        assert self.slices.planes is not None  # prepared wherever a scale has a depth
        return self.slices.planes

    def _stack(self, i: int) -> Stack:
        source, depth_mm = self.slices.source, self.squares.box.depth_mm
        assert depth_mm is not None  # of a scale with a depth
        return Stack(
            int(self.slices.slice_index[i]), depth_mm, self.n_parts, source.spacing_mm[2], source.n_slices
        )

    def _cut(self, i: int, stack: Stack, planes: NDArray[Any], fill: float) -> Tensor:
        first, stop = stack.slices
        z, *corner = self._planes.first
        assert self.slices.corner is not None  # only a store of a release without slabs lacks them
        middle = self.squares.middles[i] + self.slices.corner[i] - np.array(corner)
        around = np.tile(middle, (stop - first, 1))
        return cut(planes[first - z : stop - z], around, self.squares.size, fill, self.device)


def _weighted(weights: NDArray[np.float32], planes: Tensor) -> Tensor:
    found: Tensor = torch.tensordot(torch.from_numpy(weights).to(planes.device), planes, dims=1)
    return found
