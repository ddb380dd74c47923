"""Measures of a scan's lesions, taken where all its pixels are: on whole slices, and on every slice of a lesion."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from extract.masks import Lesions
from extract.volumes import Grid
from pipeline.lesion_shape import greatest_3d_diameter_mm, mesh_sphericity
from pipeline.measures import MEASURES
from pipeline.quantities import slice_thickness_mm, volume_ml
from pipeline.slice_measures import measure_slice

_IN_3D = ("morph_vol_approx", "morph_diam", "sphericity_smoothed")


def measure_lesions(
    planes_hu: NDArray[np.int16], chosen: NDArray[np.intp], lesions: Lesions, grid: Grid
) -> NDArray[np.float32]:
    """Measure the chosen slices of a scan.

    Args:
        planes_hu: int16 (n, rows, columns), the chosen slices, whole.
        chosen: intp (n,), which slices of the image they are; each shows tumour.
        lesions: of the scan, on its grid.
        grid: of the image.

    Returns:
        float32 (n, m), in the order of `pipeline.measures.MEASURES`; NaN where one cannot be had.
    """
    numbers = lesions.number[chosen - lesions.start[0]]
    of_slices = [int(np.bincount(number[number > 0]).argmax()) for number in numbers]
    in_3d = {number: _in_3d(lesions.number, number, grid) for number in set(of_slices)}
    _, row_mm, column_mm = grid.spacing_mm
    rows = []
    for plane_hu, number, largest in zip(planes_hu, numbers, of_slices, strict=True):
        found = measure_slice(plane_hu, _on_plane(number > 0, lesions, plane_hu.shape), (row_mm, column_mm))
        of_lesion = in_3d[largest]
        rows.append([getattr(found, m.field) if m.field else of_lesion[m.name] for m in MEASURES])
    return np.array(rows, dtype=np.float32)


def _on_plane(mask: NDArray[np.bool_], lesions: Lesions, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    plane = np.zeros(shape, dtype=np.bool_)
    _, row, column = lesions.start
    plane[row : row + mask.shape[0], column : column + mask.shape[1]] = mask
    return plane


def _in_3d(numbers: NDArray[np.int16], number: int, grid: Grid) -> Mapping[str, float]:
    is_lesion = numbers == number
    (box,) = ndimage.find_objects(is_lesion.astype(np.uint8))
    lesion = is_lesion[box]
    z_mm, row_mm, column_mm = grid.spacing_mm
    areas_mm2 = np.count_nonzero(lesion, axis=(1, 2)) * grid.pixel_area_mm2
    volume_mm3 = 1000 * volume_ml(areas_mm2, slice_thickness_mm([(column_mm, row_mm, z_mm)]))
    diameter_mm = greatest_3d_diameter_mm(lesion, grid.spacing_mm)
    return dict(zip(_IN_3D, (volume_mm3, diameter_mm, mesh_sphericity(lesion, grid.spacing_mm)), strict=True))
