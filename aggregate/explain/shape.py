"""Roundness of a lesion in three dimensions."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.lesion_shape import mesh_sphericity
from pipeline.quantities import slice_thickness_mm
from pipeline.slices import PhaseSlices

CROPPED = 0.9
"""Smallest share of the slice's tumour that a crop must show; less means that the crop has cut the outline."""


def sphericity(slices: PhaseSlices) -> float:
    """Return the sphericity of the largest connected part of the tumour (`pipeline.lesion_shape` says how).

    Measured on drawn solids of 12 to 80 mm and slices of 1 to 7.5 mm: a ball of 4 slices or more has 0.96 to 0.99, an
    ellipsoid of 2 : 1 : 1 has 0.88 to 0.92 (true 0.93), a rod of 4 : 1 has 0.71 to 0.79 (true 0.73); a cube, whose
    edges are rounded, 0.82 to 0.93 (true 0.81).

    NaN for a lesion on fewer than three neighbouring slices, for one too thin for its slices, for one cut by a crop,
    and if the slice store does not hold the positions of the crops.
    """
    shown = slices.masks.sum(axis=(1, 2)) * np.prod(slices.spacing_mm)
    if slices.corner is None or not len(slices) or (shown < CROPPED * slices.tumour_area_mm2).any():
        return float("nan")
    lesion = _largest_part(_stacked(slices.masks, slices.corner, slices.slice_index))
    return mesh_sphericity(lesion, (slice_thickness_mm([slices.source.spacing_mm]), *slices.spacing_mm))


def _stacked(
    masks: NDArray[np.bool_], corner: NDArray[np.int32], slice_index: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Place the crops at their positions in the scan, (slices, rows, columns); a slice that was not kept is empty."""
    first, last = corner.min(axis=0), corner.max(axis=0)
    n = int(np.ptp(slice_index)) + 1
    volume = np.zeros((n, *(last - first + np.array(masks.shape[1:]))), dtype=np.bool_)
    for mask, (row, column), z in zip(masks, corner - first, slice_index - slice_index.min(), strict=True):
        volume[z, row : row + mask.shape[0], column : column + mask.shape[1]] = mask
    return volume


def _largest_part(volume: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, n = ndimage.label(volume, structure=np.ones((3, 3, 3)))
    if n == 0:
        return volume
    largest = int(np.bincount(parts.ravel())[1:].argmax())
    box = ndimage.find_objects(parts)[largest]
    lesion: NDArray[np.bool_] = parts[box] == largest + 1
    return lesion
