"""Slabs: which slices of a scan they hold, and how much of each goes into the planes that an encoder is shown.

A slab reaches half its depth below and above the middle of its slice. Where it reaches beyond the scan, the first or last
slice of the scan goes on.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.crops import Size, corners_of
from pipeline.slices import SlabPlanes

Range = tuple[int, int]


def slices_of_slabs(chosen: NDArray[np.integer], depth_mm: float, z_mm: float, n: int) -> Range:
    """Return the first slice of a scan that the slabs around ascending slices need, and the one after the last.

    Args:
        chosen: intp (k,), k at least 1.
        depth_mm: of the slabs; 0 for the slices alone.
        z_mm: distance of slices.
        n: slices of the scan.
    """
    reach = math.ceil(depth_mm / z_mm / 2)
    return max(0, int(chosen[0]) - reach), min(n, int(chosen[-1]) + reach + 1)


def box_of_slabs(middles: NDArray[np.integer], size: Size, shape: Size) -> tuple[Range, Range]:
    """Return the rows and columns of a plane of `shape` that squares of `size` around `middles` (k, 2) reach."""
    corners = corners_of(middles, size)
    low = np.maximum(corners.min(axis=0), 0).tolist()
    high = np.minimum(corners.max(axis=0) + size, shape).tolist()
    return (low[0], high[0]), (low[1], high[1])


def cut_box(planes: SlabPlanes, first: int, stop: int, box: tuple[Range, Range]) -> SlabPlanes:
    """Cut slices, rows and columns out, all counted in the scan."""
    z, row, column = planes.first
    (low, high), (left, right) = box
    part = slice(first - z, stop - z), slice(low - row, high - row), slice(left - column, right - column)
    return SlabPlanes(
        np.ascontiguousarray(planes.hu[part]), np.ascontiguousarray(planes.masks[part]), (first, low, left)
    )


@dataclass(frozen=True)
class Stack:
    """A slab as equal parts through its depth, over the slices of its scan.

    Attributes:
        index: of the slice in its middle.
        depth_mm: of the slab.
        n_parts: planes that are made of it; 1 for its mean.
        z_mm: distance of slices.
        n_slices: of the scan.
    """

    index: int
    depth_mm: float
    n_parts: int
    z_mm: float
    n_slices: int

    @property
    def slices(self) -> Range:
        """The first slice that goes into it, and the one after the last."""
        return slices_of_slabs(np.array([self.index]), self.depth_mm, self.z_mm, self.n_slices)

    @property
    def _part_in_slices(self) -> float:
        return self.depth_mm / self.n_parts / self.z_mm

    def interpolated(self) -> NDArray[np.float32]:
        """Return float32 (n_parts, slices): the weights that interpolate linearly at the middle of each part."""
        first, stop = self.slices
        place = self.index + (np.arange(self.n_parts) + 0.5 - self.n_parts / 2) * self._part_in_slices
        place = np.clip(place, 0, self.n_slices - 1)
        # A tent of one slice to each side: what lies at a share of the way between two slices weighs both by it.
        apart = np.abs(place[:, None] - np.arange(first, stop))
        weights: NDArray[np.float32] = np.maximum(1 - apart, 0).astype(np.float32)
        return weights

    def shares(self) -> NDArray[np.float32]:
        """Return float32 (n_parts, slices): the share of each part that lies in each slice, which is `z_mm` thick."""
        first, stop = self.slices
        ends = self.index + (np.arange(self.n_parts + 1) - self.n_parts / 2) * self._part_in_slices
        index = np.arange(first, stop)
        low = np.where(index == 0, -np.inf, index - 0.5)
        high = np.where(index == self.n_slices - 1, np.inf, index + 0.5)
        inside = np.minimum(ends[1:, None], high) - np.maximum(ends[:-1, None], low)
        weights: NDArray[np.float32] = (np.maximum(inside, 0) / self._part_in_slices).astype(np.float32)
        return weights
