"""What makes slices a volume, and every reason why they are none."""

from pathlib import Path

import numpy as np
import pytest

from extract.dicom.headers import read_tree
from extract.dicom.series import Sorted, sort_series
from tests.extract.conftest import draw_scan
from tests.extract.dicom.scanner import store, uid, write_series

HU = draw_scan(shape=(12, 10, 6))[0]


def sorted_series(folder: Path) -> Sorted:
    return sort_series(read_tree(sorted(folder.rglob("*")), folder).headers)


def the_volume(folder: Path):
    found = sorted_series(folder)
    assert not found.refused
    (volume,) = found.volumes
    return volume


def the_reason(folder: Path) -> str:
    found = sorted_series(folder)
    assert not found.volumes
    (refused,) = found.refused
    return refused.reason


def test_slices_are_sorted_by_position_and_not_by_name_or_number(tmp_path):
    write_series(tmp_path, HU)
    volume = the_volume(tmp_path)
    assert [header.position_mm[2] for header in volume.stack.slices] == [0, 3, 6, 9, 12, 15]
    np.testing.assert_array_equal(volume.stack.affine, np.diag([-1, -1, 3, 1]))
    assert volume.stack.shape == (12, 10, 6)


def test_positions_are_projected_on_the_normal_of_an_oblique_plane(tmp_path):
    """Rows lie in the coronal direction, columns 10 degrees off the axial plane; the slices are one above the other."""
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))

    def turn(dataset, z):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, round(c, 6), round(s, 6)]
        dataset.ImagePositionPatient = [5, round(7 - 3 * s * z, 6), round(-40 + 3 * c * z, 6)]

    write_series(tmp_path, HU, change=turn)
    volume = the_volume(tmp_path)
    assert volume.stack.spacing_mm == pytest.approx(3, abs=1e-4)
    np.testing.assert_allclose(
        volume.stack.affine @ [0, 0, 2, 1], [-5, -7 + 6 * s, -40 + 6 * c, 1], atol=1e-4
    )
    assert "the slices lie 10.0 degrees off the axial plane, one above the other" in volume.remarks


def test_rows_and_columns_have_their_own_spacing_and_direction(tmp_path):
    """A patient scanned prone: rows run to the right, columns to the front; 0.5 mm along a row, 0.8 mm between rows."""
    prone = {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}
    write_series(tmp_path, HU, spacing=(0.5, 0.8, 3), **prone)
    affine = the_volume(tmp_path).stack.affine
    np.testing.assert_allclose(affine @ [2, 5, 1, 1], [2 * 0.5, 5 * 0.8, 3, 1])


def test_a_missing_slice_is_refused_with_its_place(tmp_path):
    paths = write_series(tmp_path, HU)
    paths[3].unlink()
    assert the_reason(tmp_path) == (
        "expected slices 3 mm apart, found none between 6.0 and 12.0 mm along the normal: about 1 missing; export the "
        "series again"
    )


def test_uneven_distances_are_refused_beyond_a_tenth_of_the_spacing(tmp_path):
    def shift(mm):
        def change(dataset, z):
            dataset.ImagePositionPatient = [0, 0, 3 * z + (mm if z == 2 else 0)]

        return change

    write_series(tmp_path / "rounded", HU, change=shift(0.2))
    assert the_volume(tmp_path / "rounded").stack.spacing_mm == 3
    write_series(tmp_path / "uneven", HU, change=shift(0.4))
    assert the_reason(tmp_path / "uneven") == (
        "expected slices at even distances (within 10% of 3 mm), found 3.40 mm between 3.0 and 6.4 mm along the normal"
    )


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path):
    """The images are tilted by 20 degrees, and the table moves along z."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))

    def tilt(dataset, z):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, round(c, 6), round(s, 6)]

    write_series(tmp_path, HU, change=tilt, GantryDetectorTilt=20)
    assert the_reason(tmp_path).startswith(
        "the gantry was tilted by 20.0 degrees, so that the slices are sheared"
    )


def test_a_slice_shifted_in_its_plane_is_refused(tmp_path):
    def shift(dataset, z):
        dataset.ImagePositionPatient = [4 if z == 3 else 0, 0, 3 * z]

    write_series(tmp_path, HU, change=shift)
    assert "some shifted against the others in their plane" in the_reason(tmp_path)


def test_a_slice_that_is_there_twice_is_used_once(tmp_path):
    write_series(tmp_path / "a", HU)
    write_series(tmp_path / "b", HU)
    volume = the_volume(tmp_path)
    assert volume.stack.shape == (12, 10, 6)
    assert len(volume.copies) == 6
    assert "6 copies of slices with equal voxels left out" in volume.remarks


def test_two_images_of_one_uid_that_differ_are_refused(tmp_path):
    write_series(tmp_path / "a", HU)
    write_series(tmp_path / "b", HU[:, :, :1] + 1)
    assert "expected one image for each UID, found two with different voxels at 0.0 mm" in the_reason(
        tmp_path
    )


def test_phases_of_one_series_are_told_apart_by_their_acquisition_number(tmp_path):
    for number in (1, 2, 3):
        write_series(
            tmp_path / str(number),
            HU + number,
            AcquisitionNumber=number,
            change=lambda dataset, z, n=number: setattr(dataset, "SOPInstanceUID", uid(f"{n} {z}")),
        )
    found = sorted_series(tmp_path)
    assert [volume.part for volume in found.volumes] == [
        f"acquisition number, part {i} of 3" for i in (1, 2, 3)
    ]


def test_phases_of_one_series_that_nothing_tells_apart_are_refused(tmp_path):
    for number in (1, 2):
        write_series(
            tmp_path / str(number),
            HU + number,
            change=lambda dataset, z, n=number: setattr(dataset, "SOPInstanceUID", uid(f"{n} {z}")),
        )
    assert "up to 2 different images at one position, and neither acquisition number" in the_reason(tmp_path)


def test_acquisitions_whose_slices_lie_between_each_other_are_two_volumes(tmp_path):
    """Two phases whose slices are half a distance apart would look like one volume of thinner slices."""
    write_series(tmp_path, HU, change=lambda dataset, z: setattr(dataset, "AcquisitionNumber", 1 + z % 2))
    found = sorted_series(tmp_path)
    assert [(volume.part, volume.stack.shape[2]) for volume in found.volumes] == [
        ("acquisition number, part 1 of 2", 3),
        ("acquisition number, part 2 of 2", 3),
    ]


def test_two_acquisitions_one_above_the_other_are_one_volume(tmp_path):
    write_series(tmp_path, HU, change=lambda dataset, z: setattr(dataset, "AcquisitionNumber", 1 + z // 3))
    assert the_volume(tmp_path).stack.shape == (12, 10, 6)


def test_bolus_tracking_is_no_volume(tmp_path):
    write_series(tmp_path, HU, change=lambda dataset, z: setattr(dataset, "ImagePositionPatient", [0, 0, 50]))
    assert the_reason(tmp_path) == "6 images at one position: bolus tracking or perfusion, and no volume"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localiser (scout)"),
        (
            {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
            "a projection or rendering of a volume, and no CT slice",
        ),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "a reformat in the coronal plane"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "a reformat in the sagittal plane"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "expected rows and columns at right angles, found other direction cosines",
        ),
        ({"ImagePositionPatient": None}, "no position in the patient: a screenshot or a report"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
            "a secondary capture (a screenshot, key image or dose report)",
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}, "a dose report or another structured report"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"},
            "no CT: MR Image Storage, modality MR",
        ),
        ({"SOPClassUID": "1.2.3.4", "Modality": "SMITH"}, "no CT: an object of an unknown class"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1", "NumberOfFrames": 6},
            "an enhanced, multi-frame image: export it as single CT images, which every archive can do",
        ),
        ({"RescaleType": "US"}, "the scanner says that the rescaled voxels are not in HU"),
        ({"RescaleSlope": None}, "rescale slope or intercept is missing, so that the voxels are no HU"),
        ({"RescaleSlope": 0}, "the rescale slope is not above 0, so that the voxels are no HU"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "its voxels are colours or inverted, and not HU"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_axial_ct_is_left_out_with_the_reason(tmp_path, tags, reason):
    write_series(tmp_path, HU, **tags)
    assert the_reason(tmp_path) == reason


def test_a_localiser_in_a_series_does_not_spoil_it(tmp_path):
    write_series(tmp_path, HU)
    scout = {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
    }
    write_series(tmp_path / "scout", HU[:, :, :1], **scout, SOPInstanceUID=uid("scout"))
    found = sorted_series(tmp_path)
    assert [volume.stack.shape for volume in found.volumes] == [(12, 10, 6)]
    assert [refused.reason for refused in found.refused] == ["a localiser (scout)"]


def test_rounded_orientations_do_not_cut_a_series_in_two(tmp_path):
    def jitter(dataset, z):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0.0004 + 0.0002 * (z % 2)]

    write_series(tmp_path, HU, change=jitter)
    assert the_volume(tmp_path).stack.shape == (12, 10, 6)


def test_a_series_of_two_grids_is_two_volumes(tmp_path):
    write_series(tmp_path / "a", HU)
    write_series(tmp_path / "b", HU, spacing=(0.7, 0.7, 3), SOPInstanceUID=uid("b"))
    assert [volume.part for volume in sorted_series(tmp_path).volumes] == [
        "grid of voxels, part 1 of 2",
        "grid of voxels, part 2 of 2",
    ]


def test_a_file_that_is_no_dicom_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("Mr Smith")
    (tmp_path / "cut").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0")
    unused = read_tree(sorted(tmp_path.rglob("*")), tmp_path).unused
    assert unused[tmp_path / "notes.txt"] == "no DICOM file"
    assert (tmp_path / "cut") in unused


def test_a_removed_uid_of_the_class_is_taken_from_the_file(tmp_path):
    write_series(tmp_path, HU, SOPClassUID="", SOPInstanceUID="")
    assert the_volume(tmp_path).stack.shape == (12, 10, 6)


def test_where_the_uids_of_series_were_removed_a_folder_is_one(tmp_path):
    blank = {"SeriesInstanceUID": "", "StudyInstanceUID": ""}
    write_series(tmp_path / "a", HU, **blank)
    write_series(tmp_path / "b", HU + 1, **blank)
    found = sorted_series(tmp_path)
    assert [volume.stack.shape for volume in found.volumes] == [(12, 10, 6)] * 2
    assert all(volume.first.by_folder for volume in found.volumes)


def test_the_stored_voxels_of_copies_are_compared(tmp_path):
    write_series(tmp_path / "a", HU)
    write_series(
        tmp_path / "b", HU, change=lambda dataset, z: store(dataset, np.full((10, 12), z, dtype=np.uint16))
    )
    assert "found two with different voxels" in the_reason(tmp_path)
