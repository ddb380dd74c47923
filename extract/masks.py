"""Tumour masks on the grid of their image, with the lesions numbered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from extract.mask_values import PLAIN, MaskRule, structure_in
from extract.volumes import Grid, VolumeError, VolumeFile, open_volume
from pipeline.cohort import Scan
from pipeline.scan_cells import HeaderOverrides

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of one scan in a box of its image.

    Attributes:
        number: int16 (z, rows, columns) over the box, 0 outside of lesions.
        start: index of the box's first voxel in the image, along z, rows and columns.
        share_outside: share of the drawn voxels that lie outside of the image.
        resampled: whether a mask lay on another grid than the image.
        doubts: ambiguities in the headers of the masks about their position.
        remarks: how unusual values of the masks were interpreted.
    """

    number: NDArray[np.int16]
    start: tuple[int, int, int]
    share_outside: float
    resampled: bool
    doubts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def read_lesions(
    files: Sequence[tuple[str, Path]], drawn: Scan, image: VolumeFile, rules: Sequence[MaskRule] = ()
) -> Lesions:
    """Read masks on the grid of an image, which may be of another phase than the one they were drawn on.

    A single mask is split into its connected lesions (touching by a corner counts), numbered by first voxel;
    several masks are one lesion each, numbered by their `lesion_id` where that is a whole number above 0.

    Args:
        files: (lesion_id, path) of every mask.
        drawn: the scan that they were drawn on.
        image: the grid that they are wanted on.
        rules: what is known about the values of each mask; empty if nothing is.

    Raises:
        VolumeError: a mask is missing, damaged, empty, no mask by its values, or lies outside of the image.
    """
    rules = rules or (PLAIN,) * len(files)
    masks = [_open_mask(path, drawn) for _, path in files]
    boxes = [_read_mask(mask, image.grid, rule) for mask, rule in zip(masks, rules, strict=True)]
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
        doubts=tuple(dict.fromkeys(f"{mask.path}: {mask.doubt}" for mask in masks if mask.doubt)),
        remarks=tuple(dict.fromkeys(box.remark for box in boxes if box.remark)),
    )


@dataclass(frozen=True, eq=False)
class _Box:
    voxels: NDArray[np.bool_]
    start: NDArray[np.intp]
    share_outside: float = 0.0
    resampled: bool = False
    remark: str | None = None


def read_organ(
    path: Path, drawn: Scan, image: VolumeFile, index: NDArray[np.intp], rule: MaskRule = PLAIN
) -> NDArray[np.bool_]:
    """Read the mask of an organ on some slices of an image; the file is inflated up to the last of them only.

    Args:
        path: the mask, drawn on `drawn`.
        drawn: the scan that it was drawn on.
        image: the grid that it is wanted on.
        index: intp (n,), ascending slices of the image.
        rule: what is known about the values of the mask.

    Returns:
        bool (n, rows, columns).

    Raises:
        VolumeError: the mask is missing, damaged or none by its values, or on another grid and empty or outside of
            the image.
    """
    mask = _open_mask(path, drawn)
    if mask.grid.is_same_as(image.grid):
        return _structure_on(mask, index, rule)
    box = _resampled(_structure_box(mask, rule), mask, image.grid)
    inside = np.zeros((len(index), *image.grid.shape[1:]), dtype=np.bool_)
    covered = (index >= box.start[0]) & (index < box.start[0] + len(box.voxels))
    rows, columns = (slice(a, a + n) for a, n in zip(box.start[1:], box.voxels.shape[1:], strict=True))
    inside[covered, rows, columns] = box.voxels[index[covered] - box.start[0]]
    return inside


def _structure_on(mask: VolumeFile, index: NDArray[np.intp], rule: MaskRule) -> NDArray[np.bool_]:
    first, stop = int(index[0]), int(index[-1]) + 1
    part = mask.read(first, stop)
    if not part.min() < part.max():
        # One value alone, or NaN: only the whole mask tells whether it is the background.
        return structure_in(mask, mask.read(), rule).voxels[index]
    return structure_in(mask, part, rule).voxels[index - first]


def _read_mask(mask: VolumeFile, grid: Grid, rule: MaskRule) -> _Box:
    box = _structure_box(mask, rule)
    return box if mask.grid.is_same_as(grid) else _resampled(box, mask, grid)


def _open_mask(path: Path, drawn: Scan) -> VolumeFile:
    if path.exists() and drawn.image.exists() and path.samefile(drawn.image):
        raise VolumeError(f"{path}: expected a mask, found the image itself in the cell of the mask")
    mask = open_volume(path)
    if drawn.overrides != HeaderOverrides() and mask.grid.is_same_as(open_volume(drawn.image).grid):
        # Drawn on the image as it is stored, so what mends the image's header holds for the mask.
        # Its values are no HU.
        mask = open_volume(path, replace(drawn.overrides, hu_slope=1.0, hu_intercept=0.0))
    return mask


def _structure_box(mask: VolumeFile, rule: MaskRule) -> _Box:
    structure = structure_in(mask, mask.read(), rule)
    voxels = structure.voxels
    bounds = _bounds(voxels)
    if bounds is None:
        raise VolumeError(f"{mask.path}: expected a mask with at least one voxel, found an empty one")
    _require_free_corners(mask, voxels, bounds[0])
    return _Box(voxels[bounds], np.array([b.start for b in bounds]), remark=structure.remark)


def _require_free_corners(mask: VolumeFile, voxels: NDArray[np.bool_], slices: slice) -> None:
    """Refuse a mask of the background: no structure reaches all four corners of its slices."""
    corners = voxels[slices, :: max(1, voxels.shape[1] - 1), :: max(1, voxels.shape[2] - 1)]
    n_covered = int(np.count_nonzero(corners.all(axis=(1, 2))))
    if 2 * n_covered > len(corners):
        raise VolumeError(
            f"{mask.path}: expected a mask of a structure, found one that holds all four corners of {n_covered} of its "
            f"{len(corners)} slices and {voxels.mean():.0%} of its volume: is it inverted?"
        )


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
    nearest, farthest = _reach(box, np.linalg.inv(to_mask).astype(np.float64))
    if (farthest < -0.5).any() or (nearest > np.array(grid.shape) - 0.5).any():
        raise VolumeError(_outside_message(mask, grid))
    low, high = np.floor(nearest).astype(np.intp), np.ceil(farthest).astype(np.intp) + 1
    start, stop = np.maximum(low, 0), np.minimum(high, grid.shape)
    outside = 1.0 - float(np.prod(np.maximum(stop - start, 0)) / np.prod(high - low))
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
        raise VolumeError(_between_message(box, mask, grid))
    return _Box(voxels[bounds], start + [b.start for b in bounds], outside, resampled=True, remark=box.remark)


def _reach(box: _Box, to_image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest image index that the outer corners of a mask's box reach, fractions kept."""
    ends = np.stack([box.start - 0.5, box.start + box.voxels.shape - 0.5])
    corners = np.array(
        [[ends[a, 0], ends[b, 1], ends[c, 2], 1] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    )
    reached = (to_image @ corners.T)[:3]
    return reached.min(axis=1), reached.max(axis=1)


def _outside_message(mask: VolumeFile, grid: Grid) -> str:
    why = f"; {mask.doubt}" if mask.doubt else ""
    return (
        f"{mask.path}: the mask lies outside of the image: expected it within {grid.extent}, found a mask "
        f"volume at {mask.grid.extent}{why}"
    )


def _between_message(box: _Box, mask: VolumeFile, grid: Grid) -> str:
    """Say that a mask is thinner than the voxels of the image and lies between their centres."""
    z_mm = mask.grid.z_mm()[box.start[0] : box.start[0] + len(box.voxels)]
    return (
        f"{mask.path}: the mask lies between the slices of the image, which are {grid.spacing_mm[0]:g} mm apart: expected "
        f"one that holds the centre of a voxel, found it at z {z_mm.min():.1f} to {z_mm.max():.1f} mm; draw it on the grid of "
        "the image"
    )


def areas_mm2(lesions: Lesions, grid: Grid) -> NDArray[np.float32]:
    """Return float32 (z,): tumour area on each slice of the box, on the grid of the image."""
    pixels = np.count_nonzero(lesions.number, axis=(1, 2))
    areas: NDArray[np.float32] = (pixels * grid.pixel_area_mm2).astype(np.float32)
    return areas
