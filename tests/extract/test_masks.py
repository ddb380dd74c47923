"""Masks: grids that differ, masks of other phases, several lesions, no mask at all."""

import nibabel as nib
import numpy as np

from tests.extract.conftest import SPACING, draw_scan, save


def test_a_mask_of_another_orientation_and_spacing_lands_on_the_same_voxels(playground, command):
    """A mask stored RAS at half the spacing is the same tumour."""
    _, mask = draw_scan()
    fine = np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)[::-1, ::-1]
    affine = np.diag([SPACING[0] / 2, SPACING[1] / 2, SPACING[2], 1.0])
    affine[:2, 3] = -(np.array(mask.shape[:2]) - 1) * SPACING[0] - SPACING[0] / 4
    nib.save(nib.Nifti1Image(fine, affine), playground.folder / "fine.nii.gz")
    playground.add("same", seed=1)
    playground.add("fine", seed=2, mask="fine.nii.gz")
    assert command("run", playground.configure())[0] == 0
    same, fine_bag = playground.bag("same"), playground.bag("fine")
    np.testing.assert_array_equal(fine_bag.slice_index, same.slice_index)
    np.testing.assert_array_equal(fine_bag.tumour_area_mm2, same.tumour_area_mm2)


def test_a_mask_is_propagated_by_its_place_in_the_patient(playground, command):
    """The second phase begins 9 mm higher, so the same tumour lies three slices lower in it."""
    image, _ = draw_scan(3)
    save(playground.folder / "moved.nii.gz", image, origin=(0, 0, 9.0))
    playground.add("p", "PVP")
    playground.add("p", "DP", image="moved.nii.gz", mask="")
    text = '[extract.masks]\npropagate_from = ["AP", "PVP"]\n'
    assert command("run", playground.configure(text))[0] == 0
    bag = playground.bag("p")
    drawn, propagated = bag.in_phases(["PVP"]), bag.in_phases(["DP"])
    assert bag.header.sources["DP"].mask_source == "propagated:PVP"
    np.testing.assert_allclose(propagated.z_mm, drawn.z_mm)
    np.testing.assert_array_equal(propagated.slice_index, drawn.slice_index - 3)


def test_a_margin_for_breathing_adds_slices_on_both_sides(playground, command):
    playground.add("p", "PVP")
    playground.add("p", "DP", mask="")
    text = '[extract.masks]\npropagate_from = ["PVP"]\nmargin_mm = 3.5\n'
    command("run", playground.configure(text))
    assert playground.bag("p").in_phases(["DP"]).slice_index.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert playground.bag("p").in_phases(["PVP"]).slice_index.tolist() == [4, 5, 6, 7, 8]


def test_one_file_per_lesion_numbers_the_lesions(playground, command):
    small = np.zeros_like(draw_scan()[1])
    small[28:31, 12:15, 6:11] = 1
    save(playground.folder / "second.nii.gz", small)
    playground.add("p", lesion_id="2")
    playground.rows.append({**playground.rows[0], "mask": "second.nii.gz", "lesion_id": "7"})
    assert command("run", playground.configure())[0] == 0
    bag = playground.bag("p")
    assert bag.slice_index.tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert bag.lesion.tolist() == [2, 2, 2, 2, 2, 7, 7]


def test_separate_parts_of_one_mask_are_lesions(playground, command):
    mask = draw_scan()[1]
    mask[28:31, 12:15, 10] = 1
    save(playground.folder / "two.nii.gz", mask)
    playground.add("p", mask="two.nii.gz")
    command("run", playground.configure())
    assert sorted(set(playground.bag("p").lesion.tolist())) == [1, 2]


def test_an_organ_mask_serves_where_no_tumour_was_drawn(playground, command):
    playground.add("p", mask="", liver_mask="organ.nii.gz")
    save(playground.folder / "organ.nii.gz", draw_scan()[1])
    assert command("run", playground.configure('[extract.slices]\nwhich = "organ"\n'))[0] == 0
    bag = playground.bag("p")
    assert bag.header.sources["PVP"].mask_source == "organ"
    assert bag.tumour_area_mm2.tolist() == [0] * 5
    assert bag.lesion.tolist() == [0] * 5


def test_a_table_of_ranges_needs_no_mask(playground, command):
    playground.add("p", mask="")
    playground.add("q", mask="")
    (playground.folder / "z.csv").write_text("patient_id,phase,z_from_mm,z_to_mm\np,,6,15\nq,PVP,0,2\n")
    text = '[extract.slices]\nwhich = "z_ranges"\nz_ranges = "z.csv"\n'
    assert command("run", playground.configure(text))[0] == 0
    assert playground.bag("p").slice_index.tolist() == [2, 3, 4, 5]
    assert playground.bag("q").slice_index.tolist() == [0]


def test_overrides_mend_the_header_of_image_and_mask(playground, command):
    image, mask = draw_scan(4)
    save(playground.folder / "image.nii.gz", (image + 1024).astype(np.uint16), spacing=(1, 1, 1))
    save(playground.folder / "mask.nii.gz", mask, spacing=(1, 1, 1))
    more = {"spacing_z": "3", "flip_z": "yes", "hu_intercept": "-1024"}
    playground.add("p", image="image.nii.gz", mask="mask.nii.gz", **more)
    assert command("run", playground.configure())[0] == 0
    bag = playground.bag("p")
    assert bag.slice_index.tolist() == [3, 4, 5, 6, 7]  # stored slices 8 to 4, superior first
    np.testing.assert_allclose(np.diff(bag.z_mm), 3.0)
