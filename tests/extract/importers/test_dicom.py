"""Layout `dicom`, through the command: an export to a cohort table, and on to bags."""

import csv
from pathlib import Path

import gdcm
import numpy as np
import pytest

from pipeline.bags import bag_path, read_bag
from tests.extract.conftest import draw_scan, save
from tests.extract.dicom.scanner import (
    compress,
    store,
    uid,
    write_segmentation,
    write_series,
    write_structures,
)

HU, TUMOUR = draw_scan()
SERIES = (("native", 0), ("arterial", 35), ("portal venous", 70))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def scans(tmp_path) -> Path:
    return tmp_path / "scans"


@pytest.fixture
def imported(tmp_path, scans, command):
    """Import the folder; return exit code, what was printed, the rows of the cohort table and of the report."""

    def run(*words: object):
        key = f"key={tmp_path / 'key'}"
        code, printed = command(
            "import", "dicom", scans, key, *words, "--out", tmp_path / "cohort.csv", "--overwrite"
        )
        if code:
            return code, printed, [], []
        return code, printed, table(tmp_path / "cohort.csv"), table(tmp_path / "import_report.csv")

    return run


@pytest.fixture
def pseudonym(tmp_path):
    """Return the pseudonym of an identifier by the private file beside the key."""
    return lambda original: next(
        row["pseudonym"] for row in table(tmp_path / "key.originals.csv") if row["original"] == original
    )


def write_study(folder: Path, patient: str = "0815", *, seed: int = 0) -> list[list[Path]]:
    """Write a study of three phases."""
    found = []
    for i, (name, at_s) in enumerate(SERIES):
        hu, _ = draw_scan(seed + i)
        found.append(
            write_series(
                folder / str(i),
                hu,
                patient=patient,
                study=f"study of {patient}",
                series=str(i),
                SeriesDescription=f"Liver {name} 3.0",
                AcquisitionDate="20200517",
                AcquisitionTime=f"1200{at_s:02}" if at_s < 60 else "120110",
            )
        )
    return found


def run_both(tmp_path, command, *tables: Path) -> list[Path]:
    """Make bags of cohort tables; return the folders of bags."""
    folders = []
    for cohort in tables:
        config = cohort.with_suffix(".toml")
        config.write_text(
            f'name = "test"\noutput = "{cohort.stem}"\n[cohort]\ntable = "{cohort.name}"\n[extract]\nencoder = "squeezenet1_0"\n'
            'weights = "random:0"\nprecision = "float32"\ndevice = "cpu"\n[extract.input]\nsize_px = 32\n'
        )
        code, printed = command("run", config)
        assert code == 0, printed
        folders.append(config.parent / cohort.stem / "bags")
    return folders


def test_a_study_becomes_one_row_for_each_phase(scans, imported, pseudonym):
    write_study(scans)
    code, printed, rows, report = imported()
    assert code == 0, printed
    patient = pseudonym("0815")
    assert [(row["patient_id"], row["phase"]) for row in rows] == [(patient, p) for p in ("NC", "AP", "PVP")]
    phases = {row["phase"]: row for row in report if row["what"].startswith("phase ")}
    assert phases["PVP"]["how"] == "decided"
    assert phases["PVP"]["from"] == (
        "the series description says 'portal venous'; acquired 35 s after the series before it in its study"
    )
    assert "12 slices of 36 x 40, 3 mm apart, sorted by their position along the normal" in {
        r["what"] for r in report
    }


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "JPEG-2000"])
def test_a_series_and_the_same_volume_as_nifti_give_equal_bags(
    tmp_path, scans, imported, pseudonym, command, compressed
):
    phases = write_study(scans)
    for i, images in enumerate(phases):
        mask = draw_scan(i)[1]
        write_segmentation(scans / f"seg{i}", images, {"Liver": mask, "Tumor": mask})
        for path in images if compressed else ():
            compress(path, gdcm.TransferSyntax.JPEG2000Lossless)
    code, printed, rows, _ = imported("tumour=Tumor")
    assert code == 0, printed
    lines = ["patient_id,phase,image,mask,label"]
    for i, row in enumerate(rows):
        hu, mask = draw_scan(i)
        save(tmp_path / f"{i}.nii.gz", hu)
        save(tmp_path / f"{i}_mask.nii.gz", mask)
        lines.append(f"{row['patient_id']},{row['phase']},{i}.nii.gz,{i}_mask.nii.gz,")
    (tmp_path / "nifti.csv").write_text("\n".join(lines) + "\n")
    bags = [
        read_bag(bag_path(folder, pseudonym("0815")))
        for folder in run_both(tmp_path, command, tmp_path / "cohort.csv", tmp_path / "nifti.csv")
    ]
    assert len(bags[0].features) == 15
    np.testing.assert_array_equal(bags[0].features, bags[1].features)
    np.testing.assert_array_equal(bags[0].z_mm, bags[1].z_mm)
    np.testing.assert_array_equal(bags[0].tumour_area_mm2, bags[1].tumour_area_mm2)


def test_a_phase_that_is_not_confirmed_is_told_by_stage_1(tmp_path, scans, imported, command, pseudonym):
    write_series(scans / "a", HU, series="a", SeriesDescription="CT AP")
    write_series(scans / "b", HU + 1, series="b")
    code, printed, rows, _ = imported()
    assert (code, [row["phase"] for row in rows]) == (0, ["AP?", "?"])
    (tmp_path / "test.toml").write_text('name = "t"\noutput = "o"\n[cohort]\ntable = "cohort.csv"\n')
    code, printed = command("check", tmp_path / "test.toml")
    assert code == 2
    assert "phase 'AP?' is not confirmed: look at the scan and at import_report.csv" in printed


def test_a_segment_is_asked_for(scans, imported):
    images = write_series(scans / "ct", HU)
    write_segmentation(scans / "seg", images, {"Liver": TUMOUR, "Tumor 1": TUMOUR})
    code, printed, _, _ = imported()
    assert code == 2
    assert (
        'segments and regions found: Liver (1 x), Tumor 1 (1 x); say which are the tumour: tumour="NAME" (and organ="NAME"), or '
        "masks=false"
    ) in printed
    assert (
        "tumour='lesion': no segment or region has this name; found Liver (1 x), Tumor 1 (1 x)"
        in imported("tumour=lesion")[1]
    )
    code, _, (row,), report = imported("tumour=Tumor*", "organ=liver")
    assert (code, bool(row["mask"]), bool(row["liver_mask"])) == (0, True, True)
    assert ("mask of the tumour: DICOM-SEG Tumor 1", "decided", "the series that it names") in {
        (r["what"], r["how"], r["from"]) for r in report
    }


def test_two_masks_of_one_role_on_one_series_are_not_chosen_from(scans, imported):
    images = write_series(scans / "ct", HU)
    square = [(9.5, 11.5, 15.0), (14.5, 11.5, 15.0), (14.5, 16.5, 15.0), (9.5, 16.5, 15.0)]
    write_segmentation(scans / "seg", images, {"Tumor": TUMOUR})
    write_structures(scans / "structures", images[0], {"Tumor": [square]})
    code, _, (row,), report = imported("tumour=Tumor")
    assert code == 0
    assert row["mask"] == ""
    told = [r["what"] for r in report if "have a mask of the tumour of the same series" in r["what"]]
    assert [text.partition(":")[0] for text in told] == ["DICOM-SEG", "RTSTRUCT"]
    (row,) = imported("tumour=Tumor", "--skip", "structures")[2]
    assert row["mask"]


def test_slices_between_contours_that_have_none_are_to_be_looked_at(scans, imported):
    images = write_series(scans / "ct", HU)
    squares = [[(9.5, 11.5, z), (14.5, 11.5, z), (14.5, 16.5, z), (9.5, 16.5, z)] for z in (9.0, 15.0, 21.0)]
    write_structures(scans / "structures", images[0], {"Tumor": squares})
    report = imported("tumour=Tumor")[3]
    (told,) = (row for row in report if "have none, and no mask" in row["what"])
    assert told["what"].startswith("mask of the tumour: 2 of 5 slices from the first to the last contour")
    assert told["how"] == "guessed"


def test_every_file_that_is_not_used_has_a_row_with_the_reason(scans, imported, pseudonym):
    write_study(scans)
    write_series(
        scans / "scout",
        HU[:, :, :2],
        series="scout",
        study="study of 0815",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    (scans / "report.pdf").write_text("a report")
    _, _, _, report = imported()
    unused = {
        (row["patient_id"], row["file"], row["what"]) for row in report if row["decision"] == "not used"
    }
    assert unused == {
        (
            pseudonym("0815"),
            pseudonym(f"{uid('study of 0815 scout')} in scout"),
            "a localiser (scout) (2 files)",
        ),
        ("", pseudonym("report.pdf"), "no DICOM file"),
    }


def test_a_patient_without_a_usable_series_has_a_row_in_the_report(scans, imported, pseudonym):
    write_study(scans / "a")
    images = write_series(scans / "b", HU, patient="4711", study="b")
    images[5].unlink()
    _, _, rows, report = imported()
    assert {row["patient_id"] for row in rows} == {pseudonym("0815")}
    told = [row["what"] for row in report if row["patient_id"] == pseudonym("4711")]
    assert "no usable CT series: no row of the cohort table" in told
    assert any(
        "found none between 12.0 and 18.0 mm along the normal: about 1 missing" in text for text in told
    )


def test_one_identifier_of_two_persons_is_refused(scans, imported, pseudonym):
    write_series(scans / "a", HU, study="a", PatientBirthDate="19500101")
    write_series(scans / "b", HU, study="b", PatientBirthDate="19600101")
    write_series(scans / "c", HU, study="c", patient="4711")
    _, _, rows, report = imported()
    assert {row["patient_id"] for row in rows} == {pseudonym("4711")}
    assert any(
        "it stands for two persons" in row["what"] for row in report if row["patient_id"] == pseudonym("0815")
    )


def test_identifiers_in_two_spellings_are_asked_about_without_telling_them(scans, imported, pseudonym):
    write_study(scans / "a", "0815")
    write_study(scans / "b", "815", seed=9)
    code, printed, _, _ = imported()
    assert code == 2
    assert (
        f"the identifiers of {pseudonym('0815')} and {pseudonym('815')} differ in case, zeros or separators"
        in printed
    )
    assert len({row["patient_id"] for row in imported("--patient", "815=0815x")[2]}) == 2


def test_images_without_an_identifier_are_patients_by_study_and_said_to_be_guessed(scans, imported):
    for name in "ab":
        write_series(scans / name, HU, patient="", study=name)
    _, _, rows, report = imported()
    assert len({row["patient_id"] for row in rows}) == 2
    assert [row["how"] for row in report if row["what"].startswith("no identifier in the headers")] == [
        "guessed"
    ] * 2


def test_labels_are_joined_by_the_original_identifiers(tmp_path, scans, imported, pseudonym):
    write_study(scans / "a", "0815")
    write_study(scans / "b", "4711", seed=9)
    (tmp_path / "labels.csv").write_text("id,diagnosis\n0815,ICC\n9999,HCC\n")
    words = ("--labels", tmp_path / "labels.csv", "--labels-id", "id", "--labels-class", "diagnosis")
    code, printed, rows, report = imported(*words)
    assert code == 0, printed
    assert {row["patient_id"]: row["label"] for row in rows} == {
        pseudonym("0815"): "iCCA",
        pseudonym("4711"): "",
    }
    told = {(row["patient_id"], row["what"]) for row in report}
    assert (pseudonym("4711"), "no row of the table names this patient: no label") in told
    (unmatched,) = (row["patient_id"] for row in report if row["what"] == "line 3: no scan of this patient")
    assert unmatched.startswith("p")
    assert unmatched not in {"9999", pseudonym("0815"), pseudonym("4711")}


def test_an_identifier_that_lost_its_zeros_in_the_table_is_asked_about(tmp_path, scans, imported, pseudonym):
    write_study(scans / "a", "0815")
    (tmp_path / "labels.csv").write_text("id,diagnosis\n815,ICC\n")
    words = ("--labels", tmp_path / "labels.csv", "--labels-id", "id", "--labels-class", "diagnosis")
    _, _, rows, report = imported(*words)
    assert {row["label"] for row in rows} == {""}
    (told,) = (row["what"] for row in report if row["what"].startswith("line 2: no scan of this patient"))
    assert (
        f" of the table and {pseudonym('0815')} of the folder differ in case, zeros or separators only"
        in told
    )
    assert {row["label"] for row in imported(*words, "--patient", "815=0815")[2]} == {"iCCA"}


def test_a_copy_of_a_slice_and_a_padded_voxel_are_told(scans, imported):
    def pad(dataset, z):
        stored = np.ascontiguousarray(HU[:, :, z].T)
        stored[0, 0] = -2000
        store(dataset, stored)
        dataset.RescaleIntercept = 0
        dataset.PixelPaddingValue = -2000

    paths = write_series(scans, HU, change=pad)
    (scans / "copy").write_bytes(paths[0].read_bytes())
    _, _, _, report = imported()
    assert {
        "1 copy of a slice with equal voxels left out",
        "12 voxels of padding taken as air (-1024 HU)",
    } <= {row["what"] for row in report}


def test_a_key_is_asked_for(scans, tmp_path, command):
    write_study(scans)
    code, printed = command("import", "dicom", scans, "--out", tmp_path / "cohort.csv")
    assert code == 2
    assert "identifiers are replaced by pseudonyms, which need a key" in printed


def test_a_second_import_gives_the_same_files(tmp_path, scans, imported):
    write_study(scans)
    imported()
    before = {path: path.read_bytes() for path in (tmp_path / "cohort_nifti").rglob("*.nii.gz")}
    imported()
    assert {path: path.read_bytes() for path in (tmp_path / "cohort_nifti").rglob("*.nii.gz")} == before
