"""Shape of a lesion in three dimensions, by hand and beside scikit-image."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes

from pipeline.lesion_shape import MOST_VOXELS, greatest_3d_diameter_mm, mesh_sphericity


def ball(radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    n = [2 * int(radius_mm / step) + 5 for step in spacing_mm]
    axes = [(np.arange(length) - length // 2) * step for length, step in zip(n, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius_mm**2


def test_one_voxel_is_as_long_as_its_longest_side():
    assert greatest_3d_diameter_mm(np.ones((1, 1, 1), dtype=bool), (3.0, 0.7, 0.8)) == pytest.approx(3.0)


def test_a_row_of_voxels_is_as_long_as_all_of_them():
    assert greatest_3d_diameter_mm(np.ones((1, 1, 7), dtype=bool), (0.7, 0.7, 0.8)) == pytest.approx(5.6)


def test_no_voxel_has_no_diameter():
    assert np.isnan(greatest_3d_diameter_mm(np.zeros((2, 3, 4), dtype=bool), (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("seed", range(3))
def test_the_diameter_is_that_of_the_vertices_of_the_mesh_as_the_ibsi_has_it(seed):
    lesion = np.random.default_rng(seed).random((5, 6, 7)) < 0.3
    spacing = (2.5, 0.8, 0.9)
    vertices, _, _, _ = marching_cubes(np.pad(lesion, 1).astype(float), 0.5, spacing=spacing)
    assert greatest_3d_diameter_mm(lesion, spacing) == pytest.approx(pdist(vertices).max(), rel=1e-6)


def test_a_large_lesion_is_meshed_more_coarsely_and_keeps_its_sphericity():
    spacing = (1.0, 0.5, 0.5)
    large = ball(30.0, spacing)
    assert max(large.shape) > MOST_VOXELS
    assert mesh_sphericity(large, spacing) == pytest.approx(
        mesh_sphericity(ball(14.0, spacing), spacing), abs=0.01
    )
