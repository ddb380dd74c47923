"""Segmentations and contours on the grid of their series."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pack_bits

from extract.dicom.geometry import SeriesError
from extract.dicom.headers import read_tree
from extract.dicom.masks import MaskFile, belonging, is_plain, read_mask_file
from extract.dicom.series import Volume, sort_series
from tests.extract.conftest import draw_scan
from tests.extract.dicom.scanner import write_segmentation, write_series, write_structures

HU, TUMOUR = draw_scan(shape=(30, 28, 10))
LIVER = np.zeros_like(TUMOUR)
LIVER[4:26, 4:24, 1:9] = 1
SQUARE = [(9.5, 9.5, 15.0), (14.5, 9.5, 15.0), (14.5, 14.5, 15.0), (9.5, 14.5, 15.0)]
"""Around the centres of 5 x 5 voxels of slice 5."""


def found_in(folder: Path) -> tuple[MaskFile, list[Volume]]:
    headers = read_tree(sorted(path for path in folder.rglob("*") if path.is_file()), folder).headers
    volumes = sort_series(header for header in headers if not header.is_mask).volumes
    (mask,) = (read_mask_file(header) for header in headers if header.is_mask)
    return mask, volumes


def drawn(folder: Path, *names: str) -> np.ndarray:
    """Return a mask as (x, y, z)."""
    mask, volumes = found_in(folder)
    volume, _ = belonging(mask, volumes)
    made = mask.draw(mask.numbers(names), volume)
    np.testing.assert_array_equal(made.affine, volume.stack.affine)
    return made.voxels.transpose(2, 1, 0)


def test_segments_are_chosen_by_their_names(tmp_path):
    images = write_series(tmp_path / "ct", HU)
    write_segmentation(tmp_path / "seg", images, {"Liver": LIVER, "Tumor 1": TUMOUR})
    np.testing.assert_array_equal(drawn(tmp_path, "tumor*"), TUMOUR)
    np.testing.assert_array_equal(drawn(tmp_path, "LIVER"), LIVER)
    np.testing.assert_array_equal(drawn(tmp_path, "Liver", "Tumor 1"), LIVER | TUMOUR)


def test_a_segmentation_drawn_on_another_series_belongs_to_none(tmp_path):
    images = write_series(tmp_path / "other", HU, series="other")
    write_series(tmp_path / "ct", HU)
    write_segmentation(tmp_path / "seg", images, {"Tumor": TUMOUR})
    for path in images:
        path.unlink()
    with pytest.raises(
        SeriesError, match="the series that it was drawn on is not among those of its patient"
    ):
        drawn(tmp_path, "Tumor")


def test_a_segmentation_on_slices_that_are_missing_is_refused(tmp_path):
    images = write_series(tmp_path / "ct", HU)
    write_segmentation(tmp_path / "seg", images, {"Tumor": TUMOUR})
    for path in images[7:]:
        path.unlink()
    with pytest.raises(SeriesError, match="it was drawn on 2 slices that are not in the volume"):
        drawn(tmp_path, "Tumor")  # slices 7 and 8 hold tumour


def without_sources(path: Path) -> None:
    """Take away what says on which image each frame was drawn, as some workstations do not write it."""
    dataset = pydicom.dcmread(path)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    dataset.save_as(path)


def test_frames_that_name_no_image_find_their_slices_by_position(tmp_path):
    images = write_series(tmp_path / "ct", HU)
    without_sources(write_segmentation(tmp_path / "seg", images, {"Liver": LIVER, "Tumor": TUMOUR}))
    np.testing.assert_array_equal(drawn(tmp_path, "Tumor"), TUMOUR)


def test_frames_that_are_turned_against_the_images_that_they_name_find_their_place(tmp_path):
    """Rows from the back to the front, as some programs write them, with the place that belongs to it."""
    images = write_series(tmp_path / "ct", HU)
    path = write_segmentation(tmp_path / "seg", images, {"Tumor": TUMOUR})
    dataset = pydicom.dcmread(path)
    turned = dataset.pixel_array[:, ::-1]
    dataset.PixelData = pack_bits(turned.reshape(-1).astype(np.uint8))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        x, _, z = place.ImagePositionPatient
        place.ImagePositionPatient = [x, HU.shape[1] - 1, z]
    dataset.save_as(path)
    np.testing.assert_array_equal(drawn(tmp_path, "Tumor"), TUMOUR)


def test_a_segmentation_on_another_grid_is_kept_on_its_own(tmp_path):
    """The series was written anew with half the pixels between the same outlines; stage 1 resamples masks."""
    images = write_series(tmp_path / "ct", HU)
    without_sources(write_segmentation(tmp_path / "seg", images, {"Tumor": TUMOUR}))
    for path in images:
        path.unlink()
    write_series(tmp_path / "ct", HU[::2, ::2], spacing=(2.0, 2.0, 3.0))
    mask, volumes = found_in(tmp_path)
    made = mask.draw([1], volumes[0])
    assert made.remarks == ("the segmentation lies on another grid than its images, and is kept on its own",)
    assert made.voxels.sum() == TUMOUR.sum()
    corner = np.argwhere(made.voxels)[:, ::-1].min(axis=0)
    np.testing.assert_array_equal((made.affine @ [*corner, 1])[:2], [-10, -12])


def test_a_contour_takes_in_the_voxels_whose_centres_lie_within(tmp_path):
    images = write_series(tmp_path / "ct", HU)
    write_structures(tmp_path / "rt", images[0], {"GTV": [SQUARE]})
    expected = np.zeros_like(TUMOUR)
    expected[10:15, 10:15, 5] = 1
    np.testing.assert_array_equal(drawn(tmp_path, "gtv"), expected)


@pytest.mark.parametrize("reverse", [False, True], ids=["same way round", "other way round"])
def test_a_contour_within_another_is_a_hole(tmp_path, reverse):
    hole = [(10.5, 10.5, 15.0), (13.5, 10.5, 15.0), (13.5, 13.5, 15.0), (10.5, 13.5, 15.0)]
    images = write_series(tmp_path / "ct", HU)
    write_structures(tmp_path / "rt", images[0], {"GTV": [SQUARE, hole[::-1] if reverse else hole]})
    assert drawn(tmp_path, "GTV").sum() == 25 - 9


def test_contours_side_by_side_are_parts_and_regions_are_joined(tmp_path):
    beside = [(x + 8, y, z) for x, y, z in SQUARE]
    images = write_series(tmp_path / "ct", HU)
    write_structures(tmp_path / "rt", images[0], {"GTV 1": [SQUARE, beside], "GTV 2": [SQUARE]})
    assert drawn(tmp_path, "GTV 1").sum() == 50
    assert drawn(tmp_path, "GTV*").sum() == 50


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        ((0, 0, 1.5), r"a contour lies 1\.5 mm from the nearest slice"),
        ((40, 0, 0), "a contour lies outside of the images"),
    ],
)
def test_a_contour_off_the_slices_is_refused(tmp_path, shift, reason):
    images = write_series(tmp_path / "ct", HU)
    write_structures(tmp_path / "rt", images[0], {"GTV": [[tuple(np.add(p, shift)) for p in SQUARE]]})
    with pytest.raises(SeriesError, match=reason):
        drawn(tmp_path, "GTV")


def test_a_mask_that_names_no_series_belongs_to_the_only_one_of_its_frame_of_reference(tmp_path):
    images = write_series(tmp_path / "ct", HU)
    write_structures(tmp_path / "rt", images[0], {"GTV": [SQUARE]})
    mask, volumes = found_in(tmp_path)
    unnamed = MaskFile(mask.header, mask.names, frozenset(), mask.frames_of_reference)
    assert belonging(unnamed, volumes)[1] == "the frame of reference, which one series alone has"
    write_series(tmp_path / "late", HU + 1, series="late")
    with pytest.raises(SeriesError, match="2 volumes belong to the frame of reference that it names"):
        belonging(unnamed, found_in(tmp_path)[1])


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Tumor_1", True), ("GTV", True), ("liver tumour 12", True), ("Smith", False), ("tumor Smith", False),
     ("lesion 19500101", False), ("", False), ("met3", True)],
)  # fmt: skip
def test_names_of_segments_are_told_where_they_are_words_of_anatomy(name, plain):
    assert is_plain(name) is plain
