"""Shape of one lesion in three dimensions, from its voxels."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes, mesh_surface_area

SMOOTHING = (0.5, 1.0, 1.0)
"""Standard deviation along (slice, row, column), in voxels, by which the distance to the edge is smoothed."""
FEWEST_SLICES = 3
"""A lesion on fewer slices has no shape along the patient."""
LEAST_VOLUME = 0.5
"""A surface that encloses less of the voxels than this is that of a lesion too small for its slices."""
MOST_VOXELS = 64
"""A lesion of more voxels along an axis is thinned out before it is meshed: a finer mesh says nothing new."""

Spacing = tuple[float, float, float]
"""(slice, row, column) in mm."""


def mesh_sphericity(lesion: NDArray[np.bool_], spacing_mm: Spacing) -> float:
    """Return pi^(1/3) (6 V)^(2/3) / S of a solid: 1 for a ball, less for any other; NaN where it has no surface.

    The surface is meshed (marching cubes) where the signed distance to the edge of the mask, in mm, is zero. The
    distance is smoothed by a voxel in the slice and half a slice across: the staircase of a mask has a surface
    a tenth larger than the lesion, whatever its resolution. V is the volume that the mesh encloses, so that no
    result is above 1. The smoothing sets it apart from the sphericity of the IBSI (QCFX), which has that staircase.

    Args:
        lesion: bool (slices, rows, columns), one lesion.
        spacing_mm: distance of voxels.
    """
    if np.count_nonzero(lesion.any(axis=(1, 2))) < FEWEST_SLICES:
        return float("nan")
    steps = [-(-n // MOST_VOXELS) for n in lesion.shape]
    lesion = lesion[:: steps[0], :: steps[1], :: steps[2]]
    spacing = tuple(step * mm for step, mm in zip(steps, spacing_mm, strict=True))
    # Room for the smoothing, so that the surface is closed.
    solid = np.pad(lesion, 3)
    inside = ndimage.distance_transform_edt(solid, sampling=spacing)
    outside = ndimage.distance_transform_edt(~solid, sampling=spacing)
    depth = ndimage.gaussian_filter(inside - outside, SMOOTHING)
    if depth.max() <= 0:
        return float("nan")
    corners, faces, _, _ = marching_cubes(depth, 0.0, spacing=spacing)
    a, b, c = corners[faces].transpose(1, 0, 2)
    volume = abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6  # of the tetrahedra to the origin
    if volume < LEAST_VOLUME * lesion.sum() * np.prod(spacing):
        return float("nan")
    return float(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / mesh_surface_area(corners, faces))


def greatest_3d_diameter_mm(lesion: NDArray[np.bool_], spacing_mm: Spacing) -> float:
    """Return the greatest distance in mm of two points of the surface (IBSI L0JK, "maximum 3D diameter").

    The surface runs half a voxel around the voxels' centres, as a mesh of the mask does. NaN without a voxel.

    Args:
        lesion: bool (slices, rows, columns).
        spacing_mm: distance of voxels.
    """
    columns = np.arange(lesion.shape[2])
    first = np.where(lesion, columns, lesion.shape[2]).min(axis=2)
    last = np.where(lesion, columns, -1).max(axis=2)
    z, row = np.nonzero(last >= 0)
    if not len(z):
        return float("nan")
    # Only the ends of a row can be the two points.
    ends = np.concatenate([np.stack([z, row, end[z, row]], axis=1) for end in (first, last)])
    half = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    points = (ends[:, None] + half[None]).reshape(-1, 3) * spacing_mm
    return float(pdist(points[ConvexHull(points).vertices]).max())
