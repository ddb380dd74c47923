"""Sphericity of solids whose true value is known, on grids like those of CT."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.explain.shape import sphericity
from pipeline.bags import Source
from pipeline.quantities import tumour_volume_ml
from pipeline.slices import PhaseSlices

GRIDS = [(1.0, 1.0), (0.8, 2.5), (0.8, 5.0), (1.5, 7.5)]
"""(pixel, slice) in mm."""


def draw(is_inside, reach_mm: float, pixel: float, height: float) -> PhaseSlices:
    """Draw a solid given by x, y, z in mm, its middle between the voxels."""
    plane, depth = (
        np.arange(-int(reach_mm / step) - 2, int(reach_mm / step) + 3) * step for step in (pixel, height)
    )
    z, y, x = np.meshgrid(depth + 0.3 * height, plane + 0.2 * pixel, plane + 0.1 * pixel, indexing="ij")
    mask = is_inside(x, y, z)
    here = np.flatnonzero(mask.any(axis=(1, 2)))
    area = mask[here].sum(axis=(1, 2)) * pixel**2
    return PhaseSlices(
        phase="AP",
        crops_hu=np.zeros((len(here), *mask.shape[1:]), dtype=np.int16),
        masks=mask[here],
        spacing_mm=(pixel, pixel),
        slice_index=here.astype(np.int32),
        z_mm=(here * height).astype(np.float32),
        tumour_area_mm2=area.astype(np.float32),
        lesion=np.ones(len(here), dtype=np.int16),
        source=Source("x.nii.gz", "a", "b", "drawn", (pixel, pixel, height), 40),
        corner=np.zeros((len(here), 2), dtype=np.int32),
    )


def ball(radius: float, pixel: float = 0.8, height: float = 2.5) -> PhaseSlices:
    return draw(lambda x, y, z: x**2 + y**2 + z**2 <= radius**2, radius, pixel, height)


def cube(side: float, pixel: float = 0.8, height: float = 2.5) -> PhaseSlices:
    return draw(
        lambda x, y, z: np.maximum(np.maximum(abs(x), abs(y)), abs(z)) <= side / 2, side, pixel, height
    )


def rod(radius: float, pixel: float = 0.8, height: float = 2.5) -> PhaseSlices:
    """Draw a cylinder four times as long as wide, lying in the slices."""
    length = 8 * radius
    return draw(
        lambda x, y, z: (y**2 + z**2 <= radius**2) & (abs(x) <= length / 2), length / 2, pixel, height
    )


@pytest.mark.parametrize(("pixel", "height"), GRIDS)
@pytest.mark.parametrize("radius", [15.0, 30.0])
def test_a_ball_has_one_from_below_whatever_the_grid(radius, pixel, height):
    assert 0.96 < sphericity(ball(radius, pixel, height)) < 1


@pytest.mark.parametrize(("pixel", "height"), GRIDS)
def test_a_cube_has_its_value_with_the_edges_rounded(pixel, height):
    true = np.pi ** (1 / 3) * 6 ** (2 / 3) / 6
    assert true == pytest.approx(0.806, abs=0.001)
    assert true < sphericity(cube(60, pixel, height)) < true + 0.08


@pytest.mark.parametrize(("pixel", "height"), GRIDS)
def test_a_rod_has_its_value(pixel, height):
    true = 36 ** (1 / 3) / 4.5  # pi^(1/3) (6 pi d^3)^(2/3) / (4.5 pi d^2)
    assert true == pytest.approx(0.734, abs=0.001)
    assert sphericity(rod(15, pixel, height)) == pytest.approx(true, abs=0.04)


@pytest.mark.parametrize(("pixel", "height"), GRIDS)
def test_rounder_is_more(pixel, height):
    found = [
        sphericity(solid)
        for solid in (rod(12, pixel, height), cube(40, pixel, height), ball(20, pixel, height))
    ]
    assert found == sorted(found)
    assert min(np.diff(found)) > 0.05


def test_it_does_not_hang_on_size():
    small, large = sphericity(ball(8)), sphericity(ball(40))
    assert small == pytest.approx(large, abs=0.02)


def test_where_the_crops_lie_is_heeded():
    """The same slices, each cut out around its own middle, are the same lesion; moved apart they are another."""
    whole = draw(lambda x, y, z: x**2 + y**2 + z**2 <= 15**2, 50, 0.8, 2.5)
    shift = np.arange(len(whole), dtype=np.int32)[:, None] * [1, 2]
    moved = replace(
        whole, masks=np.stack([np.roll(m, -s, (0, 1)) for m, s in zip(whole.masks, shift, strict=True)])
    )
    assert sphericity(replace(moved, corner=shift.astype(np.int32))) == pytest.approx(
        sphericity(whole), abs=1e-9
    )
    assert sphericity(moved) < sphericity(whole) - 0.02


def test_the_largest_part_counts():
    two = draw(
        lambda x, y, z: (x**2 + y**2 + z**2 <= 20**2) | ((x - 40) ** 2 + y**2 + z**2 <= 6**2), 50, 0.8, 2.5
    )
    assert sphericity(two) == pytest.approx(sphericity(ball(20)), abs=0.002)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda slices: replace(slices, corner=None),
        lambda slices: replace(slices, tumour_area_mm2=slices.tumour_area_mm2 * 1.5),
        lambda slices: replace(slices, slice_index=slices.slice_index * 2),
    ],
    ids=["an older store", "a crop that cuts the lesion", "every other slice"],
)
def test_what_has_no_surface_has_no_sphericity(spoilt):
    assert np.isnan(sphericity(spoilt(ball(15))))


def test_a_lesion_on_two_slices_has_a_volume_and_no_sphericity():
    flat = ball(6, 0.8, 7.5)
    assert len(flat) == 2
    assert np.isnan(sphericity(flat))
    assert tumour_volume_ml(flat) > 0
