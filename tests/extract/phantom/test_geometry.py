import numpy as np
import pytest

from extract.phantom.geometry import Ellipsoid, Grid, Points, Tube, draw_waves, opacity, union

GRID = Grid(*(np.linspace(-20, 20, n, dtype=np.float32) for n in (9, 11, 7)))


def points_of(grid: Grid) -> Points:
    z, y, x = np.meshgrid(grid.z, grid.y, grid.x, indexing="ij")
    return Points(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1))


def test_waves_are_the_same_on_a_grid_and_at_its_points():
    waves = draw_waves(15, np.random.default_rng(0))
    np.testing.assert_allclose(GRID.wave(waves).ravel(), points_of(GRID).wave(waves), atol=1e-5)


def test_waves_have_mean_0_and_variance_1():
    waves = draw_waves(10, np.random.default_rng(1), count=32)
    far = Points(np.random.default_rng(2).uniform(-500, 500, (20_000, 3)).astype(np.float32))
    assert far.wave(waves).mean() == pytest.approx(0, abs=0.05)
    assert far.wave(waves).var() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("solid", [Ellipsoid((1, 2, 3), (9, 7, 5)), Tube((0, 0, 0), (8, 4, 2), 3, 1)])
def test_solids_are_the_same_on_a_grid_and_at_its_points(solid):
    np.testing.assert_allclose(solid.depth(GRID).ravel(), solid.depth(points_of(GRID)), atol=1e-5)


def test_the_depth_of_a_ball_is_a_distance():
    ball = Ellipsoid((0, 0, 0), (10, 10, 10))
    np.testing.assert_allclose(
        ball.depth(Points(np.float32([[0, 0, 0], [4, 0, 0], [0, 13, 0]]))), [10, 6, -3], rtol=1e-5
    )


def test_a_tube_narrows_from_start_to_end():
    tube = Tube((0, 0, 0), (10, 0, 0), 4, 2)
    np.testing.assert_allclose(tube.depth(Points(np.float32([[0, 0, 0], [5, 0, 0], [10, 3, 0]]))), [4, 3, -1])


def test_near_keeps_what_lies_within_reach_whatever_the_direction_of_the_axis():
    flipped = Grid(GRID.x[::-1], GRID.y, GRID.z)
    box, inner = flipped.near((5, 0, 0), (6, 6, 6))
    np.testing.assert_array_equal(flipped.x[box[2]], inner.x)
    assert set(inner.x) == {0, 5, 10}


def test_nothing_is_near_a_point_outside():
    assert not GRID.near((500, 0, 0), (5, 5, 5))[1]


def test_a_union_is_never_thinner_than_its_parts():
    a, b = np.float32([-5, 0, 4]), np.float32([-5, 3, -20])
    joined = union(a, b, blend_mm=8)
    assert (joined >= np.maximum(a, b)).all()
    assert joined[2] == 4


def test_half_a_voxel_is_filled_at_the_surface():
    np.testing.assert_allclose(opacity(np.float32([-3, 0, 3]), 2.0), [0, 0.5, 1])
