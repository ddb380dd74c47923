"""Tumour masks on the grid of their image, with the lesions numbered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from extract.volumes import Grid, VolumeError, VolumeFile, open_volume
from pipeline.cohort import HeaderOverrides, Scan

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of one scan in a box of its image.

    Attributes:
        number: int16 (z, rows, columns) over the box, 0 outside of lesions.
        start: index of the box's first voxel in the image, along z, rows and columns.
        share_outside: share of the drawn voxels that lie outside of the image.
        resampled: whether a mask lay on another grid than the image.
    """

    number: NDArray[np.int16]
    start: tuple[int, int, int]
    share_outside: float
    resampled: bool


def read_lesions(files: Sequence[tuple[str, Path]], drawn: Scan, image: VolumeFile) -> Lesions:
    """Read masks on the grid of an image, which may be of another phase than they were drawn on.

    A single mask is split into its connected lesions (touching by a corner counts), numbered by first voxel;
    several masks are one lesion each, numbered by their `lesion_id` where that is a whole number above 0.

    Args:
        files: (lesion_id, path) of every mask.
        drawn: the scan that they were drawn on.
        image: the grid that they are wanted on.

    Raises:
        VolumeError: a mask is missing, damaged, empty, or lies outside of the image.
    """
    boxes = [_read_mask(path, drawn, image.grid) for _, path in files]
    start = np.min([box.start for box in boxes], axis=0)
    stop = np.max([np.add(box.start, box.voxels.shape) for box in boxes], axis=0)
    number = np.zeros(stop - start, dtype=np.int16)
    for place, ((lesion_id, _), box) in enumerate(zip(files, boxes, strict=True), start=1):
        own = int(lesion_id) if lesion_id.isdecimal() and 0 < int(lesion_id) < 2**15 else place
        where = tuple(slice(a, a + n) for a, n in zip(box.start - start, box.voxels.shape, strict=True))
        number[where][box.voxels] = own
    if len(boxes) == 1:
        number = ndimage.label(number, structure=_TOUCHING)[0].astype(np.int16)
    return Lesions(
        number=number,
        start=(int(start[0]), int(start[1]), int(start[2])),
        share_outside=max(box.share_outside for box in boxes),
        resampled=any(box.resampled for box in boxes),
    )


@dataclass(frozen=True, eq=False)
class _Box:
    voxels: NDArray[np.bool_]
    start: NDArray[np.intp]
    share_outside: float = 0.0
    resampled: bool = False


def read_organ(path: Path, drawn: Scan, image: VolumeFile, index: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Read the mask of an organ on some slices of an image, no further into the file than they lie.

    Args:
        path: the mask, drawn on `drawn`.
        drawn: the scan that it was drawn on.
        image: the grid that it is wanted on.
        index: intp (n,), ascending slices of the image.

    Returns:
        bool (n, rows, columns).

    Raises:
        VolumeError: the mask is missing or damaged, or on another grid and empty or outside of the image.
    """
    mask = _open_mask(path, drawn)
    if mask.grid.is_same_as(image.grid):
        inside: NDArray[np.bool_] = mask.read(int(index[0]), int(index[-1]) + 1)[index - index[0]] != 0
        return inside
    box = _resampled(_nonzero_box(mask), mask, image.grid)
    inside = np.zeros((len(index), *image.grid.shape[1:]), dtype=np.bool_)
    covered = (index >= box.start[0]) & (index < box.start[0] + len(box.voxels))
    rows, columns = (slice(a, a + n) for a, n in zip(box.start[1:], box.voxels.shape[1:], strict=True))
    inside[covered, rows, columns] = box.voxels[index[covered] - box.start[0]]
    return inside


def _read_mask(path: Path, drawn: Scan, grid: Grid) -> _Box:
    mask = _open_mask(path, drawn)
    box = _nonzero_box(mask)
    return box if mask.grid.is_same_as(grid) else _resampled(box, mask, grid)


def _open_mask(path: Path, drawn: Scan) -> VolumeFile:
    mask = open_volume(path)
    if drawn.overrides != HeaderOverrides() and mask.grid.is_same_as(open_volume(drawn.image).grid):
        # Drawn on the image as it is stored, so what mends the image's header holds for the mask.
        mask = open_volume(path, drawn.overrides)
    return mask


def _nonzero_box(mask: VolumeFile) -> _Box:
    voxels = mask.read() != 0
    bounds = _bounds(voxels)
    if bounds is None:
        raise VolumeError(f"{mask.path}: expected a mask with at least one voxel, found an empty one")
    return _Box(voxels[bounds], np.array([b.start for b in bounds]))


def _bounds(voxels: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    found: list[slice] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(voxels.any(axis=others))
        if not len(used):
            return None
        found.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(found)


def _resampled(box: _Box, mask: VolumeFile, grid: Grid) -> _Box:
    """Take for each voxel of the image the mask voxel that its centre lies in, by physical coordinates."""
    to_mask = np.linalg.inv(mask.grid.affine) @ grid.affine
    low, high = _reach(box, np.linalg.inv(to_mask).astype(np.float64))
    start, stop = np.maximum(low, 0), np.minimum(high, grid.shape)
    outside = 1.0 - float(np.prod(np.maximum(stop - start, 0)) / np.prod(high - low))
    if (stop <= start).any():
        raise VolumeError(_outside_message(mask, grid))
    offset = to_mask[:3, :3] @ start + to_mask[:3, 3] - box.start
    voxels = ndimage.affine_transform(
        box.voxels.astype(np.uint8),
        to_mask[:3, :3],
        offset,
        output_shape=tuple(stop - start),
        order=0,
        mode="grid-constant",
        prefilter=False,
    ).astype(bool)
    bounds = _bounds(voxels)
    if bounds is None:
        raise VolumeError(_outside_message(mask, grid))
    return _Box(voxels[bounds], start + [b.start for b in bounds], outside, resampled=True)


def _reach(box: _Box, to_image: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and one past the last image index that the outer corners of a mask's box can reach."""
    ends = np.stack([box.start - 0.5, box.start + box.voxels.shape - 0.5])
    corners = np.array(
        [[ends[a, 0], ends[b, 1], ends[c, 2], 1] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    )
    reached = (to_image @ corners.T)[:3]
    return np.floor(reached.min(axis=1)).astype(np.intp), np.ceil(reached.max(axis=1)).astype(np.intp) + 1


def _outside_message(mask: VolumeFile, grid: Grid) -> str:
    return (
        f"{mask.path}: the mask lies outside of the image: expected it within {_extent(grid)}, found a mask "
        f"volume at {_extent(mask.grid)}"
    )


def _extent(grid: Grid) -> str:
    """Say between which voxel centres a grid reaches, in patient coordinates (RAS+)."""
    ends = np.array([[z, r, c, 1] for z in (0, 1) for r in (0, 1) for c in (0, 1)], dtype=float)
    ends[:, :3] *= np.array(grid.shape) - 1
    places = (grid.affine @ ends.T)[:3]
    axes = zip("xyz", places.min(axis=1), places.max(axis=1), strict=True)
    return ", ".join(f"{axis} {low:.0f} to {high:.0f} mm" for axis, low, high in axes)


def areas_mm2(lesions: Lesions, spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Return float32 (z,): tumour area on each slice of the box."""
    pixels = np.count_nonzero(lesions.number, axis=(1, 2))
    areas: NDArray[np.float32] = (pixels * spacing_mm[1] * spacing_mm[2]).astype(np.float32)
    return areas
