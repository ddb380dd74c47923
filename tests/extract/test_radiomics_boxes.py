"""The box that radiomics are computed from: the wanted lesion, its margin, and the slices that hold it."""

import numpy as np

from extract.masks import Lesions
from extract.radiomics_boxes import box_of_lesions, margin_mm, planes_needed
from extract.radiomics_settings import RadiomicsSection

SPACING = (5.0, 1.0, 1.0)


def two_lesions() -> Lesions:
    """Lesion 1 of 2 x 4 x 4 voxels and lesion 2 of 3 x 6 x 6, in a box that begins at (10, 20, 30)."""
    number = np.zeros((8, 40, 40), dtype=np.int16)
    number[1:3, 2:6, 2:6] = 1
    number[5:8, 30:36, 30:36] = 2
    return Lesions(number, (10, 20, 30), share_outside=0.0, resampled=False)


def test_the_margin_is_that_of_the_rim_and_of_resampling():
    assert margin_mm(RadiomicsSection(rim_mm=6.0, spacing_mm=2.0), SPACING) == 14.0
    assert margin_mm(RadiomicsSection(regions=("lesion",), spacing_mm=1.0), SPACING) == 4.0
    assert margin_mm(RadiomicsSection(regions=("lesion",), spacing_mm="native"), SPACING) == 20.0
    peak = RadiomicsSection(regions=("lesion",), spacing_mm=1.0, families=("local_intensity",))
    assert margin_mm(peak, SPACING) == 11.0


def test_slices_are_needed_as_far_as_the_margin_and_the_image_go():
    settings = RadiomicsSection(rim_mm=6.0, spacing_mm=2.0)  # 14 mm are 3 slices
    assert planes_needed(two_lesions(), settings, SPACING, 100) == (7, 21)
    assert planes_needed(two_lesions(), settings, SPACING, 19) == (7, 19)


def test_the_largest_lesion_is_cut_out_with_its_margin_and_the_other_is_known_as_tumour():
    planes = np.arange(100 * 90 * 14, dtype=np.int32).reshape(14, 90, 100).astype(np.int16)
    settings = RadiomicsSection(rim_mm=6.0, spacing_mm=2.0)
    box = box_of_lesions(planes, 7, two_lesions(), settings, SPACING)
    assert (box.lesion.sum(), box.tumour.sum()) == (3 * 6 * 6, 3 * 6 * 6)
    # Rows 50 to 55 and columns 60 to 65 of the image, slices 15 to 17, which are 8 to 10 of those that were read.
    np.testing.assert_array_equal(box.hu, planes[5:14, 36:70, 46:80])
    assert box.lesion[3:6, 14:20, 14:20].all()


def test_all_lesions_are_one_region_where_that_is_asked():
    planes = np.zeros((14, 90, 100), dtype=np.int16)
    box = box_of_lesions(planes, 7, two_lesions(), RadiomicsSection(lesions="all"), SPACING)
    assert box.lesion.sum() == 2 * 4 * 4 + 3 * 6 * 6
