"""One slice, drawn by hand, measured."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from pipeline.slice_measures import measure_slice

SPACING = (0.8, 0.8)
CENTRE = 60


def disc(radius_mm: float, size: int = 121) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(rows - CENTRE, columns - CENTRE) * SPACING[0] <= radius_mm


def painted(*parts: tuple[np.ndarray, int], background: int = 70) -> np.ndarray:
    crop = np.full((121, 121), background, dtype=np.int16)
    for where, hu in parts:
        crop[where] = hu
    return crop


def test_contrast_is_lesion_minus_the_parenchyma_around_it():
    mask = disc(15)
    found = measure_slice(painted((mask, 110)), mask, SPACING)
    assert (found.lesion_hu, found.parenchyma_hu, found.contrast_hu) == (110, 70, 40)
    assert found.core_contrast_hu == 40
    assert found.rim_minus_core_hu == 0


def test_a_bright_rim_is_told_from_a_bright_core():
    mask, inner = disc(15), disc(9)
    rim = measure_slice(painted((mask, 120), (inner, 60)), mask, SPACING)
    core = measure_slice(painted((mask, 60), (inner, 120)), mask, SPACING)
    assert rim.rim_minus_core_hu == 60
    assert core.rim_minus_core_hu == -60
    assert (rim.core_contrast_hu, core.core_contrast_hu) == (-10, 50)


def test_a_capsule_is_bright_outside_the_lesion_only():
    mask = disc(15)
    capsule = disc(17.5) & ~mask
    found = measure_slice(painted((mask, 60), (capsule, 130)), mask, SPACING)
    assert found.border_hu == 60
    assert found.contrast_hu == -10


def test_fat_gas_and_vessels_beside_the_lesion_do_not_move_the_parenchyma():
    mask = disc(15)
    crop = painted((mask, 110))
    crop[:, :40] = -100
    crop[:45] = -1000
    crop[80:, 80:] = 350
    assert measure_slice(crop, mask, SPACING).parenchyma_hu == 70


def test_noise_alone_is_no_heterogeneity(rng):
    mask = disc(20)
    noise = rng.normal(0, 12, size=mask.shape)
    even = np.where(mask, 100, 70) + noise
    mixed = np.where(mask, 100 + 30 * np.sign(np.sin(np.arange(121) / 3)), 70) + noise
    assert measure_slice(even.astype(np.int16), mask, SPACING).heterogeneity_hu < 6
    assert measure_slice(mixed.astype(np.int16), mask, SPACING).heterogeneity_hu > 20


def test_a_rim_alone_is_no_heterogeneity():
    mask = disc(20)
    targetoid = painted((mask, 110), (disc(13), 60))
    assert measure_slice(targetoid, mask, SPACING).heterogeneity_hu < 4


def test_a_lesion_of_two_halves_is_heterogeneous_by_their_difference():
    mask = disc(20)
    halves = painted((mask, 80))
    halves[:, CENTRE:][mask[:, CENTRE:]] = 120
    assert measure_slice(halves, mask, SPACING).heterogeneity_hu == pytest.approx(40 / 1.349, rel=0.15)


@pytest.mark.parametrize("radius", [6.0, 15.0, 30.0])
def test_a_disc_is_round_and_as_wide_as_it_is(radius):
    mask = disc(radius)
    found = measure_slice(painted((mask, 100)), mask, SPACING)
    assert found.circularity > 0.93
    assert found.diameter_mm == pytest.approx(2 * radius, abs=2 * SPACING[0])


def test_a_lobulated_outline_is_less_round():
    mask = disc(15)
    rows, columns = np.mgrid[:121, :121]
    for angle in range(0, 360, 60):
        row, column = CENTRE + 16 * np.sin(np.radians(angle)), CENTRE + 16 * np.cos(np.radians(angle))
        mask |= np.hypot(rows - row, columns - column) * SPACING[0] <= 7
    assert measure_slice(painted((mask, 100)), mask, SPACING).circularity < 0.85


def test_a_lesion_of_a_few_pixels_has_no_core_but_a_density():
    mask = disc(1.7)
    found = measure_slice(painted((mask, 100)), mask, SPACING)
    assert found.lesion_hu == 100
    assert np.isnan(found.core_contrast_hu)


def test_a_lesion_that_fills_the_crop_has_no_parenchyma():
    found = measure_slice(painted(background=90), np.ones((121, 121), bool), SPACING)
    assert found.lesion_hu == 90
    assert np.isnan(found.parenchyma_hu)


def test_a_slice_without_tumour_has_no_measure():
    found = measure_slice(painted(), np.zeros((121, 121), bool), SPACING)
    assert np.isnan(found.lesion_hu)


@pytest.mark.parametrize("seed", range(5))
def test_the_diameter_is_that_of_scikit_image_within_a_pixel(seed):
    noise = np.random.default_rng(seed).normal(size=(60, 70))
    mask = ndimage.gaussian_filter(noise, 6) > 0.02
    crop = np.full(mask.shape, 60, dtype=np.int16)
    parts = regionprops(label(mask), spacing=(0.7, 0.7))
    largest = max(parts, key=lambda part: part.num_pixels)
    found = measure_slice(crop, mask, (0.7, 0.7)).diameter_mm
    assert found == pytest.approx(largest.feret_diameter_max, abs=0.7)


def test_the_diameter_of_a_row_of_pixels_is_its_length():
    mask = np.zeros((9, 30), dtype=bool)
    mask[4, 5:25] = True
    assert measure_slice(np.zeros(mask.shape, np.int16), mask, (0.5, 0.8)).diameter_mm == pytest.approx(16.0)
