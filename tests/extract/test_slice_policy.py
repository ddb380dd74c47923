"""Laws of the slice policy."""

import numpy as np
import pytest

from extract.config import SlicesSection
from extract.slice_policy import choose_slices

AREAS = np.array([0, 20, 80, 300, 200, 90, 10, 0, 50, 0], dtype=np.float32)


def choose(spacing: float = 1.0, areas: np.ndarray = AREAS, **policy) -> list[int]:
    z = (np.arange(len(areas)) * spacing - 37.0).astype(np.float32)
    return choose_slices(z, areas, SlicesSection(**policy)).tolist()


def test_every_slice_with_tumour_by_default():
    assert choose() == [1, 2, 3, 4, 5, 6, 8]


def test_a_minimum_area_leaves_out_smaller_slices():
    assert choose(minimum_area_mm2=80) == [2, 3, 4, 5]


def test_no_slice_is_left_when_all_are_too_small():
    assert choose(minimum_area_mm2=1000) == []


def test_thin_and_thick_slices_give_the_same_number_on_a_grid_of_z():
    tumour_mm = 60
    counts = [
        len(choose(s, np.ones(round(tumour_mm / s), np.float32), every_mm=5.0)) for s in (1.0, 2.5, 5.0)
    ]
    assert max(counts) - min(counts) <= 1


def test_a_grid_finer_than_the_slices_keeps_them_all():
    assert choose(5.0, every_mm=1.0) == choose(5.0)


def test_a_tumour_smaller_than_the_grid_keeps_its_largest_slice():
    assert choose(1.0, np.array([0, 5, 9, 4], np.float32), every_mm=50.0) == [2]


@pytest.mark.parametrize("at_most", [1, 2, 5, 7, 100])
def test_at_most_so_many_spread_over_the_tumour(at_most):
    found = choose(at_most=at_most)
    assert len(found) == min(at_most, 7)
    assert len(set(found)) == len(found)
    assert set(found) <= set(choose())
