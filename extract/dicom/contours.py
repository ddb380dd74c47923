"""Contours of an RTSTRUCT as a mask.

A voxel is inside when its centre lies within an odd number of the contours of its slice (even-odd): a contour within
another is a hole, and contours beside each other are parts, whichever way round they are drawn. A hole that a contour
reaches by a slit (keyhole) comes out the same.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from extract.dicom.geometry import SeriesError, Stack
from extract.dicom.segments import DrawnMask

_BETWEEN = 0.25
"""A contour further from its slice than this share of their distance was drawn on another series."""
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})


def drawn_contours(path: Path, numbers: Sequence[int], stack: Stack) -> DrawnMask:
    """Return regions of interest as one mask on the grid of the images; regions are joined, contours of one are even-odd.

    Raises:
        SeriesError: a contour lies between two slices, outside of the image, or is no closed one.
    """
    columns, rows, n = stack.shape
    mask = np.zeros((n, rows, columns), dtype=np.bool_)
    for number in numbers:
        own = np.zeros_like(mask)
        for contour in _contours(pydicom.dcmread(path), number):
            z, outline = _on_slice(contour, stack)
            own[z] ^= polygon2mask((rows, columns), outline)
        mask |= own
    return DrawnMask(mask.astype(np.uint8), stack.affine, doubts=tuple(_gaps(mask)))


def _gaps(mask: NDArray[np.bool_]) -> Iterator[str]:
    """Yield what is to be known of slices without a contour between others; nothing is drawn on them."""
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    n = int(drawn[-1] - drawn[0] + 1) if len(drawn) else 0
    if n > len(drawn):
        yield (
            f"{n - len(drawn)} of {n} slices from the first to the last contour have none, and no mask: were contours left out, or "
            "drawn on thicker slices?"
        )


def _contours(dataset: pydicom.Dataset, number: int) -> Iterator[NDArray[np.float64]]:
    """Yield float64 (points, 3): the closed contours of a region in LPS millimetres."""
    for region in dataset.ROIContourSequence:
        if int(region.ReferencedROINumber) != number:
            continue
        for contour in region.get("ContourSequence", ()):
            kind = str(contour.ContourGeometricType)
            if kind not in _CLOSED:
                if kind == "POINT":
                    continue  # a mark, which encloses nothing
                raise SeriesError("expected closed contours in a plane, found open ones")
            points = np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)
            if len(points) > 2:
                yield points


def _on_slice(points: NDArray[np.float64], stack: Stack) -> tuple[int, NDArray[np.float64]]:
    """Return the slice of a contour and its points as float64 (points, 2), rows and columns."""
    ras = np.c_[points * [-1.0, -1.0, 1.0], np.ones(len(points))]
    index = (np.linalg.inv(stack.affine) @ ras.T)[:3].T  # (column, row, slice)
    z = int(np.rint(index[:, 2].mean()))
    off = float(np.abs(index[:, 2] - z).max())
    if off > _BETWEEN:
        raise SeriesError(
            f"a contour lies {off * stack.spacing_mm:.1f} mm from the nearest slice: it was drawn on another series"
        )
    columns, rows, n = stack.shape
    outside = (index[:, :2] < -0.5) | (index[:, :2] > np.array([columns, rows]) - 0.5)
    if not 0 <= z < n or outside.any():
        raise SeriesError("a contour lies outside of the images")
    return z, index[:, 1::-1]
