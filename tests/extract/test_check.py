"""`extract.py check`: planted faults, each found and named."""

import csv
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.checks import _identifiers_in, check_identifiers, files_of_others
from pipeline.cohort import Cohort, Patient, Scan
from tests.extract.conftest import draw_scan, save


def read(playground) -> dict[tuple[str, str], dict[str, str]]:
    with (playground.folder / "out" / "cohort_check.csv").open() as stream:
        return {(row["patient_id"], row["phase"]): row for row in csv.DictReader(stream)}


def with_liver(playground, patient_id: str, liver_hu: dict[str, int]) -> None:
    for phase, hu in liver_hu.items():
        image, mask = draw_scan(hu)
        organ = np.zeros_like(mask)
        organ[5:35, 5:31, 1:11] = 1
        image[organ > 0] += hu - 40
        save(playground.folder / f"{patient_id}_{phase}_i.nii.gz", image)
        save(playground.folder / f"{patient_id}_organ.nii.gz", organ)
        names = {"image": f"{patient_id}_{phase}_i.nii.gz", "liver_mask": f"{patient_id}_organ.nii.gz"}
        playground.add(patient_id, phase, **names)


def plant(playground) -> None:
    """Ten faults and one good patient."""
    folder = playground.folder
    image, mask = draw_scan(9)
    playground.add("good")
    playground.add("grid", mask=save(folder / "half.nii.gz", mask[::2, ::2], spacing=(2, 2, 3)).name)
    playground.add("partly", mask=save(folder / "shift.nii.gz", mask, origin=(0, 0, -18)).name)
    playground.add("outside", mask=save(folder / "far.nii.gz", mask, origin=(0, 0, 500)).name)
    playground.add("empty", mask=save(folder / "empty.nii.gz", mask * 0).name)
    playground.add("fourd", image=save(folder / "4d.nii.gz", np.stack([image, image], 3)).name)
    playground.add("mr", image=save(folder / "mr.nii.gz", np.abs(image)).name)
    playground.add(
        "spacing", image=save(folder / "tiny.nii.gz", image, spacing=(0.01, 0.01, 3)).name, mask=""
    )
    padded = image.copy()
    padded[:3] = -3024
    playground.add("padding", image=save(folder / "padded.nii.gz", padded).name)
    playground.add("twin", seed=77)
    playground.add("twin2", seed=77)
    with_liver(playground, "swapped", {"AP": 140, "PVP": 60})


FAULTS = {
    ("good", "PVP"): ("ok", ""),
    ("grid", "PVP"): ("warning", "the mask is on another grid"),
    ("partly", "PVP"): ("warning", "of the mask's box lies outside of the image"),
    ("outside", "PVP"): ("error", "the mask lies outside of the image"),
    ("empty", "PVP"): ("error", "found an empty one"),
    ("fourd", "PVP"): ("error", "expected a 3-D volume, found shape 40 x 36 x 12 x 2"),
    ("mr", "PVP"): ("error", "expected CT in HU"),
    ("spacing", "PVP"): ("error", "expected a spacing of 0.3 to 10 mm, found 0.01 x 0.01 x 3 mm"),
    ("padding", "PVP"): ("warning", "padding of -3024 HU is taken as air"),
    ("twin", "PVP"): ("error", "the same pixels occur under patient twin2, phase PVP"),
    ("swapped", "AP"): ("warning", "the liver is brighter in AP (140 HU) than in PVP (60 HU)"),
}


@pytest.fixture
def checked(playground, command):
    plant(playground)
    code, printed = command("check", playground.configure())
    return code, printed, read(playground)


def test_ten_planted_faults_are_each_found_and_named(checked):
    code, printed, rows = checked
    assert code == 2
    for key, (status, reason) in FAULTS.items():
        assert (rows[key]["status"], reason in rows[key]["reason"]) == (status, True), rows[key]
        assert status == "ok" or reason in printed


def test_the_table_says_what_a_scan_is(checked):
    row = checked[2]["good", "PVP"]
    assert row["shape"] == "40 x 36 x 12"
    assert row["spacing_mm"] == "1.000 x 1.000"
    assert float(row["thickness_mm"]) == 3
    assert row["orientation"] == "LPS"
    assert (row["n_slices"], row["n_tumour_slices"], row["mask_source"]) == ("12", "5", "drawn")
    assert float(row["tumour_volume_ml"]) == pytest.approx(1.5)
    assert (row["geometry_ok"], row["label"]) == ("True", "HCC")
    assert len(row["image_sha256"]) == 64


def test_check_embeds_nothing_and_run_excludes_what_it_called_an_error(checked, playground, command):
    _, _, rows = checked
    assert not playground.bags.exists()
    command("run", playground.folder / "test.toml")
    bad = {patient for (patient, _), row in rows.items() if row["status"] == "error"}
    assert {path.stem for path in playground.bags.glob("*.h5")} == {p for p, _ in rows} - bad
    assert bad <= {patient for patient, _ in playground.excluded()}


def test_warnings_alone_are_exit_code_0(playground, command):
    playground.add("grid")
    save(playground.folder / "grid_PVP_mask.nii.gz", draw_scan()[1][::2, ::2], spacing=(2, 2, 3))
    assert command("check", playground.configure())[0] == 0


def test_the_same_pixels_in_another_file_are_found(playground, command):
    """Compressing anew changes the file, not the pixels."""
    image, _ = draw_scan(5)
    save(playground.folder / "a.nii", image)
    save(playground.folder / "b.nii.gz", image)
    playground.add("a", image="a.nii")
    playground.add("b", image="b.nii.gz")
    command("check", playground.configure())
    assert read(playground)["a", "PVP"]["duplicate_of"] == "b PVP"


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        ("1961-04-12", "date"),
        ("MRN_20190301", "date"),
        ("Marie Dupont", "name"),
        ("Dupont_Marie", "name"),
        ("P001", None),
        ("HCC-17", None),
        ("007", None),
    ],
)
def test_identifiers_that_look_like_a_person_are_told(identifier, reason):
    found = check_identifiers([Patient(identifier, {}, None)])
    assert (reason is None) == (identifier not in found)
    assert reason is None or reason in found[identifier]


def test_identifiers_that_differ_in_zeros_are_told():
    assert "P1" in check_identifiers([Patient("P1", {}, None), Patient("P01", {}, None)])["P01"]
    assert not check_identifiers([Patient("P1", {}, None), Patient("P10", {}, None)])


def test_a_file_of_p10_in_a_row_of_p1_is_told(tmp_path):
    def patient(patient_id: str, file: str) -> Patient:
        return Patient(patient_id, {"AP": Scan(patient_id, "AP", tmp_path / file, ())}, None)

    mixed = Cohort((patient("P1", "P10_ap.nii.gz"), patient("P10", "P10_ap2.nii.gz")), ())
    assert list(files_of_others(mixed)) == [("P1", "AP")]
    right = Cohort((patient("P1", "P1_ap.nii.gz"), patient("P10", "P10_ap.nii.gz")), ())
    assert not files_of_others(right)


def test_the_summary_counts_classes_phases_and_the_policy(playground, command):
    playground.add("a", "AP")
    playground.add("a", "PVP")
    playground.add("b", "AP", label="iCCA")
    _, printed = command("check", playground.configure(), "missing_phases={ require = ['PVP'] }")
    assert "kept (require PVP)" in " ".join(printed.split())
    assert "3 ok, 0 warning, 0 error" in printed


@given(
    ids=st.sets(st.text("aP1-_ é", min_size=1, max_size=4), max_size=6),
    name=st.text("aP1-_ .é", max_size=14),
)
def test_identifiers_in_a_file_name_are_those_that_a_search_for_each_finds(ids, name):
    """The plain search, one after the other, is the oracle of the one that takes no longer with more patients."""
    bounded = {i for i in ids if re.search(rf"(?<![A-Za-z0-9]){re.escape(i)}(?![A-Za-z0-9])", name)}
    assert _identifiers_in(name, ids) == {i for i in bounded if not i.isdigit() or len(i) > 2}
