"""Squares cut out of slices, with air where they reach out of the image."""

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


def size_px(side_mm: float, spacing_mm: tuple[float, float]) -> Size:
    """Return the rows and columns of a square of `side_mm`, at least one each."""
    return max(1, round(side_mm / spacing_mm[0])), max(1, round(side_mm / spacing_mm[1]))


def middle_of(region: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return (row, column) of the middle of the box around a region of one slice."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    middle: NDArray[np.intp] = np.array(
        [(rows[0] + rows[-1] + 1) // 2, (columns[0] + columns[-1] + 1) // 2], dtype=np.intp
    )
    return middle


def corners_of(middles: NDArray[np.integer], size: tuple[int, ...]) -> NDArray[np.int32]:
    """Return row and column of the plane at which the rectangles of `size` around `middles` (n, 2) begin, (n, 2)."""
    corners: NDArray[np.int32] = (middles - np.array(size) // 2).astype(np.int32)
    return corners


def copy_square(plane: NDArray[np.generic], middle: NDArray[np.integer], out: NDArray[np.generic]) -> None:
    """Fill `out` with the rectangle of its size around `middle`; what lies outside of the plane stays."""
    (corner,) = corners_of(middle[None], out.shape)
    low = np.maximum(corner, 0)
    high = np.minimum(corner + out.shape, plane.shape)
    if (low < high).all():
        to = low - corner, high - corner
        out[to[0][0] : to[1][0], to[0][1] : to[1][1]] = plane[low[0] : high[0], low[1] : high[1]]


def cut_squares(
    planes: NDArray[np.generic], middles: NDArray[np.integer], size: Size, fill: float
) -> NDArray[np.generic]:
    """Cut one rectangle of `size` out of each of (n, rows, columns), around its own middle (n, 2)."""
    out = np.full((len(planes), *size), fill, dtype=planes.dtype)
    for plane, middle, square in zip(planes, middles, out, strict=True):
        copy_square(plane, middle, square)
    return out
