"""What the values of a mask mean: true ones, taken as they are or asked for, never guessed."""

import nibabel as nib
import numpy as np
import pytest

from extract.mask_values import MaskRule, structure_in
from extract.volumes import VolumeError, open_volume
from tests.extract.conftest import draw_scan, save

AREA_MM2 = 100.0
"""The tumour of `draw_scan` has 10 x 10 pixels of 1 mm2 on slices 4 to 8."""
MASK = draw_scan()[1]


def with_values(background: float, value: float, dtype: type) -> np.ndarray:
    return np.where(MASK > 0, value, background).astype(dtype)


def noisy() -> np.ndarray:
    return (MASK + np.random.default_rng(0).uniform(-1e-4, 1e-4, MASK.shape)).astype(np.float32)


TWO_VALUES = {
    "0 and 255": with_values(0, 255, np.uint8),
    "0 and 0.9999": with_values(0, 0.9999, np.float32),
    "-1 and 1": with_values(-1, 1, np.int16),
    "NaN and 1": with_values(np.nan, 1, np.float32),
    "1 and 2": with_values(1, 2, np.uint8),
    "0 and 1 with the noise of rounding": noisy(),
}


@pytest.mark.parametrize("name", TWO_VALUES)
def test_of_two_values_the_larger_is_the_structure(tmp_path, name):
    mask = open_volume(save(tmp_path / "m.nii.gz", TWO_VALUES[name]))
    found = structure_in(mask, mask.read()).voxels
    np.testing.assert_array_equal(found, MASK.T > 0)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_a_mask_that_was_scaled_on_saving_is_read_by_its_true_values(tmp_path, dtype):
    """nibabel scales floats into the type of a header that is used again."""
    image = nib.load(save(tmp_path / "ct.nii.gz", draw_scan()[0].clip(0).astype(dtype)))
    nib.save(nib.Nifti1Image(MASK.astype(np.float64), image.affine, image.header), tmp_path / "m.nii.gz")
    mask = open_volume(tmp_path / "m.nii.gz")
    assert mask.slope != 1
    found = structure_in(mask, mask.read())
    np.testing.assert_array_equal(found.voxels, MASK.T > 0)
    assert "1 is taken for the tumour" in found.remark


def test_a_negative_slope_turns_stored_numbers_around(tmp_path):
    image = nib.Nifti1Image(1 - MASK, np.eye(4))
    image.header.set_slope_inter(-1, 1)
    (tmp_path / "m.nii").write_bytes(image.to_bytes())
    data = bytearray((tmp_path / "m.nii").read_bytes())
    data[112:120] = np.array([-1, 1], dtype="<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "m.nii").write_bytes(data)
    mask = open_volume(tmp_path / "m.nii")
    assert (mask.slope, mask.intercept) == (-1, 1)
    assert structure_in(mask, mask.read()).voxels.sum() == MASK.sum() == 500


def labels() -> np.ndarray:
    """A map of 1 = organ, 2 = tumour."""
    organ = np.zeros_like(MASK)
    organ[6:24, 8:26, 2:10] = 1
    return np.where(MASK > 0, 2, organ).astype(np.uint8)


def fractions() -> np.ndarray:
    """A mask resampled linearly, half a pixel to the side."""
    mask = MASK.astype(np.float32)
    return (mask + np.roll(mask, 1, axis=0)) / 2


REFUSED = {
    "labels": (labels(), r"found the labels 0, 1, 2; say which are the tumour: \[extract.masks\] labels"),
    "fractions": (fractions(), r"found fractions from 0 to 1.*set \[extract.masks\] threshold = 0.5"),
    "a CT": (draw_scan()[0], "as of an image"),
    "a CT of floats": (draw_scan()[0].astype(np.float32) + 0.3, "as of an image"),
    "an image of a byte": (np.arange(MASK.size, dtype=np.uint8).reshape(MASK.shape), "found 256 values"),
    "ones": (np.ones_like(MASK), "found the value 1 in every voxel"),
    "minus ones": (np.full(MASK.shape, -1, np.int16), "found the value -1 in every voxel"),
    "infinity": (
        with_values(0, np.inf, np.float32),
        "found 500 NaN or infinite voxels beside values from 0 to 0",
    ),
    "NaN beside two values": (
        np.where(MASK > 0, 1, np.where(draw_scan()[0] < 0, np.nan, 0)).astype(np.float32),
        "NaN or infinite voxels beside values from 0 to 1",
    ),
    "NaN alone": (np.full(MASK.shape, np.nan, np.float32), "NaN or infinite voxels alone"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_no_mask_are_refused_with_the_figure(tmp_path, name):
    voxels, message = REFUSED[name]
    mask = open_volume(save(tmp_path / "m.nii.gz", voxels))
    with pytest.raises(VolumeError, match=message):
        structure_in(mask, mask.read())


@pytest.mark.parametrize(
    ("named", "n_voxels"), [((2,), 500), ((1,), 18 * 18 * 8 - 500), ((1, 2), 18 * 18 * 8)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_labels_that_were_named_are_the_structure(tmp_path, named, n_voxels, dtype):
    mask = open_volume(save(tmp_path / "m.nii.gz", labels().astype(dtype)))
    assert structure_in(mask, mask.read(), MaskRule(named)).voxels.sum() == n_voxels


@pytest.mark.parametrize("voxels", [labels(), MASK, with_values(np.nan, 1, np.float32)])
def test_a_mask_without_the_named_label_is_refused(tmp_path, voxels):
    mask = open_volume(save(tmp_path / "m.nii.gz", voxels))
    with pytest.raises(VolumeError, match="expected the label 3 of the tumour, found the values"):
        structure_in(mask, mask.read(), MaskRule((3,)))


def test_a_threshold_holds_for_fractions_only(tmp_path):
    soft = open_volume(save(tmp_path / "soft.nii.gz", fractions()))
    rule = MaskRule(threshold=0.75)
    assert structure_in(soft, soft.read(), rule).voxels.sum() == 9 * 10 * 5  # a row on each side is 0.5
    hard = open_volume(save(tmp_path / "hard.nii.gz", labels()))
    with pytest.raises(VolumeError, match="found the labels 0, 1, 2"):
        structure_in(hard, hard.read(), rule)


def run_with(playground, command, voxels, text="", **cells) -> tuple[int, str]:
    save(playground.folder / "m.nii.gz", voxels)
    playground.add("p", mask="m.nii.gz", **cells)
    return command("run", playground.configure(text))


@pytest.mark.parametrize("name", TWO_VALUES)
def test_the_bag_of_a_two_valued_mask_has_the_area_of_the_tumour(playground, command, name):
    code, _ = run_with(playground, command, TWO_VALUES[name])
    assert code == 0
    assert playground.bag("p").tumour_area_mm2.tolist() == [AREA_MM2] * 5


def test_the_configuration_names_the_labels_of_every_mask(playground, command):
    code, _ = run_with(playground, command, labels(), "[extract.masks]\nlabels = { tumour = [2] }\n")
    assert code == 0
    assert playground.bag("p").tumour_area_mm2.tolist() == [AREA_MM2] * 5


@pytest.mark.parametrize("cell", ["2", "2.0", "2 7"])
def test_the_cohort_table_names_the_label_of_one_mask(playground, command, cell):
    text = "[extract.masks]\nlabels = { tumour = [9] }\n"
    code, _ = run_with(playground, command, labels(), text, mask_label=cell)
    assert code == 0
    assert playground.bag("p").tumour_area_mm2.tolist() == [AREA_MM2] * 5


def test_rows_of_one_label_each_are_lesions_of_one_map(playground, command):
    playground.add(
        "p", mask=save(playground.folder / "m.nii.gz", labels()).name, lesion_id="1", mask_label="1"
    )
    playground.rows.append({**playground.rows[0], "lesion_id": "2", "mask_label": "2"})
    assert command("run", playground.configure())[0] == 0
    assert playground.bag("p").lesion.tolist() == [1] * 8  # the larger on every slice
    assert playground.bag("p").slice_index.tolist() == list(range(2, 10))


def test_a_label_that_is_no_number_is_a_fault_of_its_row(playground, command):
    code, printed = run_with(playground, command, labels(), mask_label="tumour")
    assert code == 2
    assert "mask_label 'tumour'; expected whole numbers above 0" in printed


def test_another_label_is_another_bag(playground, command):
    run_with(playground, command, labels(), mask_label="2")
    playground.rows[0]["mask_label"] = "1"
    command("run", playground.configure())
    assert playground.bag("p").tumour_area_mm2.tolist() == [324, 324, 224, 224, 224, 224, 224, 324]


def test_a_mask_cell_that_names_the_image_is_refused(playground, command):
    playground.add("p", mask="p_PVP.nii.gz")
    code, printed = command("run", playground.configure())
    assert code == 2
    assert "found the image itself in the cell of the mask" in printed


IMPLAUSIBLE = {
    "inverted": (1 - MASK, "all four corners of 12 of its 12 slices and 97% of its volume: is it inverted?"),
    "the body": (
        (draw_scan()[0] > -300).astype(np.uint8),
        "at most 50% of the body on its slices; found 100%",
    ),
}


@pytest.mark.parametrize("name", IMPLAUSIBLE)
@pytest.mark.parametrize("word", ["check", "run"])
def test_a_mask_of_too_much_is_refused_with_the_figure(playground, command, name, word):
    voxels, message = IMPLAUSIBLE[name]
    playground.add("p", mask=save(playground.folder / "m.nii.gz", voxels).name)
    code, printed = command(word, playground.configure())
    assert code == 2
    assert message in printed


def organ() -> np.ndarray:
    return (labels() > 0).astype(np.uint8)


ORGANS = {
    "missing": (None, "no such file"),
    "labels": (
        labels(),
        "found the labels 0, 1, 2; say which are the organ: [extract.masks] labels = { organ = [2] }",
    ),
    "ones": (np.ones_like(MASK), "found the value 1 in every voxel"),
    "the body": (
        (draw_scan()[0] > -300).astype(np.uint8),
        "at most 90% of the body on its slices; found 100%",
    ),
    "empty": (np.zeros_like(MASK), "too little of the organ on the 5 slices looked at"),
}


@pytest.mark.parametrize("name", ORGANS)
@pytest.mark.parametrize("word", ["check", "run"])
def test_an_organ_mask_that_cannot_be_used_is_told_and_costs_no_scan(playground, command, name, word):
    voxels, message = ORGANS[name]
    playground.add("p", liver_mask="organ.nii.gz")
    if voxels is not None:
        save(playground.folder / "organ.nii.gz", voxels)
    code, printed = command(word, playground.configure())
    assert code == 0
    assert message in printed
    assert "the order of the phases is not checked" in printed


@pytest.mark.parametrize("voxels", [organ(), np.where(organ() > 0, 1, -1).astype(np.int16)])
def test_an_organ_mask_of_two_values_says_nothing(playground, command, voxels):
    save(playground.folder / "organ.nii.gz", voxels)
    playground.add("p", liver_mask="organ.nii.gz")
    _, printed = command("check", playground.configure())
    assert "1 ok, 0 warning, 0 error" in printed


def test_one_map_serves_for_tumour_and_organ(playground, command):
    save(playground.folder / "map.nii.gz", labels())
    playground.add("p", mask="map.nii.gz", liver_mask="map.nii.gz")
    text = "[extract.masks]\nlabels = { tumour = [2], organ = [1, 2] }\n"
    _, printed = command("check", playground.configure(text))
    assert "1 ok, 0 warning, 0 error" in printed


@pytest.mark.parametrize("word", ["check", "run"])
def test_the_mask_of_the_organ_in_the_cell_of_the_tumour_is_refused(playground, command, word):
    save(playground.folder / "organ.nii.gz", organ())
    playground.add("p", mask="organ.nii.gz", liver_mask="organ.nii.gz")
    code, printed = command(word, playground.configure())
    assert code == 2
    assert "found the mask of the organ in its cell, too" in printed


@pytest.mark.parametrize("word", ["check", "run"])
def test_slices_of_air_under_a_mask_are_named(playground, command, word):
    image, mask = draw_scan()
    image[..., 5:7] = -1024
    save(playground.folder / "i.nii.gz", image)
    save(playground.folder / "m.nii.gz", mask)
    playground.add("p", image="i.nii.gz", mask="m.nii.gz")
    code, printed = command(word, playground.configure())
    assert code == 2
    assert "found air or padding (at most -950 HU) on 2 slices: 6, 7" in printed
