"""Layouts of public data sets, each on a tree that imitates the real one with its traps."""

import tarfile

import nibabel as nib
import numpy as np
import pytest

from extract.volumes import open_volume
from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from tests.extract.importers.trees import (
    Tree,
    put_boxes,
    put_mct_ltdiag,
    put_nnunet,
    put_plc_cect,
    put_totalsegmentator,
    put_waw_tace,
)

SPACING = "spacing=0.8,0.8,5"


@pytest.fixture
def plc_cect(tree) -> Tree:
    put_plc_cect(tree)
    return tree


@pytest.fixture
def mct_ltdiag(tree) -> Tree:
    put_mct_ltdiag(tree)
    return tree


def test_plc_cect_asks_for_what_no_file_holds(plc_cect, imported):
    refused = imported("plc-cect")
    assert refused.code == 2
    assert refused.said("spacing: 4 of 4 headers say 1 x 1 x 1 mm, which no CT of a liver has")
    assert refused.said("hu_offset: 4 images have 8 bits of a window from -200 to 200 HU")
    assert refused.said("hu_offset=40 brings it to -100 HU, and hu_offset=0 takes the window as it is")


def test_plc_cect_writes_the_overrides(plc_cect, imported):
    done = imported("plc-cect", SPACING, "hu_offset=40", "--covariates", "age,gender")
    row = done.row("P0001", "NC")
    assert (row["spacing_x"], row["spacing_z"], row["flip_z"]) == ("0.8", "5", "yes")
    assert (float(row["hu_slope"]), float(row["hu_intercept"])) == (pytest.approx(400 / 255), -160)
    assert (row["label"], done.row("P0002", "PVP")["label"], done.row("P0003", "AP")["label"]) == (
        "HCC",
        "cHCC-CCA",
        "CN",
    )
    assert (row["age"], done.row("P0002", "PVP")["gender"]) == ("55", "NA")


def test_a_table_of_spacings_has_one_for_each_scan(plc_cect, imported):
    head = "patient_id,phase,spacing_x,spacing_y,spacing_z\n"
    scans = "P0001,P,1,1,5\nP0001,C1,1,1,5\nP0002,C2,1,1,5\nP0003,C1,1,1,5\n"
    path = plc_cect.text("spacings.csv", f"{head}{scans}P0001,P,1,1,2\n")
    refused = imported("plc-cect", f"spacing={path}", "hu_offset=40")
    assert refused.said("line 6: another spacing of patient P0001, phase P, than above; expected one")
    plc_cect.text("spacings.csv", f"{head}{scans}".replace("1,1,5", "1,nan,5"))
    assert imported("plc-cect", f"spacing={path}", "hu_offset=40").said("found 1, nan, 5")
    plc_cect.text("spacings.csv", head + scans)
    assert imported("plc-cect", f"spacing={path}", "hu_offset=40").told("spacings.csv") == []


def test_plc_cect_tells_what_is_odd(plc_cect, imported):
    done = imported("plc-cect", SPACING, "hu_offset=40")
    assert done.told("ct_files/P0002_ct_C3.nii.gz") == [
        ("not used", "expected a 3-D volume, found shape 6 x 6 x 4 x 2", "decided")
    ]
    assert done.told("liver_mask_files/P0001-livermask_C1.nii.gz") == [
        ("not used", "an empty mask", "decided")
    ]
    assert done.row("P0003", "AP")["flip_z"] == ""  # the lungs lie where the header says
    assert ("used", "slices left as they are", "guessed") in done.told("ct_files/P0003_ct_C1.nii.gz")
    assert ("used", "no mask_path is given", "decided") in done.told("ct_files/P0003_ct_C1.nii.gz")
    assert done.told("README.md")[0][0] == "not used"
    assert "gender" not in done.rows[0]


def test_plc_cect_is_read_by_stage_1_with_lungs_above(plc_cect, imported, tmp_path):
    imported("plc-cect", SPACING, "hu_offset=40")
    cohort = read_cohort(CohortSection(table=tmp_path / "cohort.csv"))
    scan = next(p for p in cohort.patients if p.patient_id == "P0001").scans["NC"]
    volume = open_volume(scan.image, scan.overrides)
    hu = volume.to_hu(volume.read())
    assert volume.grid.spacing_mm == (5.0, 0.8, 0.8)
    assert hu[-1, 30, 30] == pytest.approx(-160, abs=3)
    assert hu[0, 10, 30] == pytest.approx(-100, abs=10)


def test_plc_cect_takes_spacings_from_a_table(plc_cect, imported, tmp_path):
    path = tmp_path / "spacings.csv"
    rows = ["P0001,P", "P0001,AP", "P0002,C2"]
    path.write_text(
        "patient_id,phase,spacing_x,spacing_y,spacing_z\n" + "".join(f"{row},0.7,0.7,2.5\n" for row in rows)
    )
    assert imported("plc-cect", f"spacing={path}", "hu_offset=0").said("no row for patient P0003, phase AP")
    path.write_text(path.read_text() + "P0003,C1,0.7,0.7,1.25\n")
    assert imported("plc-cect", f"spacing={path}", "hu_offset=0").row("P0003", "AP")["spacing_z"] == "1.25"


def test_mct_ltdiag_has_its_mask_on_the_portal_phase_only(mct_ltdiag, imported):
    done = imported("mct-ltdiag", "--covariates", "age,chemo")
    assert [(r["phase"], bool(r["mask"])) for r in done.rows[:4]] == [
        ("NC", False),
        ("AP", False),
        ("PVP", True),
        ("DP", False),
    ]
    assert (done.rows[0]["label"], done.rows[0]["age"], done.rows[4]["age"]) == ("iCCA", "62", "1.5")
    assert done.rows[0]["chemo"] == "Y(TACE 2x)"
    assert ("to set", 'extract.masks.propagate_from=["PVP"]', "decided") in done.told("")
    assert done.said("age: 3 cells such as '062Y' read as years")
    assert done.said("fold_0.txt: lists tumours, of which a patient has several: folds by it would leak")
    assert done.said("line 4: no scan of case 230500c09")


def test_mct_ltdiag_as_archives_is_unpacked_where_the_user_says(mct_ltdiag, imported, tmp_path):
    for folder in sorted(p for p in mct_ltdiag.folder.iterdir() if p.is_dir()):
        with tarfile.open(f"{folder}.tar", "w") as archive:
            archive.add(folder / "NIFTI", "NIFTI")
        for file in sorted(folder.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        folder.rmdir()
    (mct_ltdiag.folder / "230999z01.tar").write_bytes(b"cut off")
    assert imported("mct-ltdiag").said(
        "3 archives, such as 230312a11.tar: say where to unpack them: unpack=FOLDER"
    )
    done = imported("mct-ltdiag", f"unpack={tmp_path / 'unpacked'}")
    assert len(done.rows) == 8
    assert done.told("230999z01.tar")[0][1].startswith("a damaged archive")


def test_mct_ltdiag_as_its_benchmark_has_the_type_in_the_path(tree, imported):
    tree.image("Data/volume/CRLM/c1/pvp.nii.gz")
    tree.mask("Data/mask/CRLM/c1/mask_pvp.nii.gz")
    row = imported("mct-ltdiag").row("c1", "PVP")
    assert (row["label"], row["mask"]) == ("CRLM", "scans/Data/mask/CRLM/c1/mask_pvp.nii.gz")


def test_waw_tace_has_a_mask_for_each_lesion_on_one_phase(tree, imported):
    pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    put_waw_tace(tree)
    done = imported("waw-tace")
    assert [(r["patient_id"], r["phase"], r["lesion_id"], r["label"]) for r in done.rows] == [
        ("2", "NC", "", "HCC"), ("2", "AP", "1", "HCC"), ("2", "AP", "2", "HCC"), ("7", "PVP", "", "HCC"),
    ]  # fmt: skip
    assert ("to set", "extract.masks.labels.organ=[5]", "decided") in done.told("")
    assert done.told("tumor_masks/9_1_1_tumor_seg.nrrd")[0][1] == "no scan of this patient and phase"
    assert done.told("images/gone.nii.gz")[0][1] == "line 5: no such image"
    assert any(
        r["what"] == "tumor_count is 1, masks found: 0" and r["patient_id"] == "7" for r in done.report
    )
    assert done.said("masks of a patient who has another number of them than tumor_count says")


def test_lld_boxes_become_ranges_of_z(tree, imported, tmp_path):
    put_boxes(tree)
    assert imported("lld-mmri").said("box_z=stored or box_z=reversed")
    done = imported("lld-mmri", "box_z=stored")
    assert [(r["patient_id"], r["phase"], r["label"]) for r in done.rows] == [
        ("MR 17", "AP", "HCC"),
        ("MR 17", "DP", "HCC"),
    ]
    ranges = (tmp_path / "cohort_z_ranges.csv").read_text().splitlines()
    assert ranges == [
        "patient_id,phase,z_from_mm,z_to_mm",
        "MR 17,AP,5.990000,12.010000",
        "MR 17,DP,23.990000,33.010000",
    ]
    assert done.said("unknown phase 'T2WI'")
    assert any(
        "cut at the 12 slices of the image (the boxes go from 8 to 20)" in r["what"] for r in done.report
    )
    assert ("to set", 'extract.slices.which="z_ranges"', "decided") in done.told("")
    assert imported("lld-mmri", "box_z=reversed", "--overwrite").code == 0
    assert (tmp_path / "cohort_z_ranges.csv").read_text().splitlines()[1] == "MR 17,AP,20.990000,27.010000"


def test_nnunet_channels_are_phases_and_labels_have_names(tree, imported):
    put_nnunet(tree, {"0": "arterial", "1": "portal venous"}, {"background": 0, "liver": 1, "tumor": 2})
    done = imported("nnunet")
    assert [(r["patient_id"], r["phase"], r["mask_label"], r["liver_mask"]) for r in done.rows] == [
        ("liver_001", "AP", "2", "scans/labelsTr/liver_001.nii.gz"),
        ("liver_001", "PVP", "2", "scans/labelsTr/liver_001.nii.gz"),
        ("liver_002", "AP", "", ""),
        ("liver_002", "PVP", "", ""),
    ]
    assert ("to set", "extract.masks.labels.organ=[1]", "decided") in done.told("")
    ground = {r["what"]: r["from"] for r in done.report}
    assert ground["extract.masks.labels.organ=[1]"] == "dataset.json calls it 'liver'"
    assert ground["channel 0001 is PVP"] == "dataset.json, channel_names"
    assert done.told("labelsTr/liver_900.nii.gz") == [
        ("not used", "no image of this case in imagesTr", "decided")
    ]
    assert done.told("imagesTs/liver_003_0000.nii.gz")[0][0] == "not used"


def test_nnunet_asks_which_phase_a_channel_called_ct_is_and_which_label_the_tumour(tree, imported):
    put_nnunet(tree, {"0": "CT"}, {"background": 0, "organ": 1, "mass": 2})
    refused = imported("nnunet")
    assert refused.said("channel 0000 is called 'CT', which is no phase; say which: --phase \"0000=NAME\"")
    assert refused.said(
        "dataset.json has the labels organ (1), mass (2); say which is the tumour: tumour=NAME"
    )
    done = imported("nnunet", "tumour=mass", "--phase", "0000=PVP")
    assert done.row("liver_001", "PVP")["mask_label"] == "2"
    ground = {r["what"]: r["from"] for r in done.report}
    assert ground["channel 0000 is PVP"] == "the command"


def test_nnunet_labels_of_version_1_are_read_the_other_way_round(tree, imported):
    tree.json("dataset.json", {"modality": {"0": "venous"}, "labels": {"0": "background", "1": "tumour"}})
    tree.image("imagesTr/c_0000.nii.gz")
    tree.mask("labelsTr/c.nii.gz")
    row = imported("nnunet").row("c", "PVP")
    assert row["mask"].endswith("labelsTr/c.nii.gz")


def test_totalsegmentator_masks_and_the_phase_of_its_json(tree, imported):
    put_totalsegmentator(tree)
    done = imported("totalsegmentator")
    assert [(r["phase"], bool(r["mask"]), bool(r["liver_mask"])) for r in done.rows] == [
        ("AP", True, True),
        ("PVP", True, True),
    ]
    assert done.told("P1/scan_1/ct.nii.gz") == [("used", "image of AP", "guessed")]
    assert done.said("phase.json says arterial_late, 43.2 s after injection, probability 0.9")
    assert (
        done.told("P1/scan_1/segmentations/spleen.nii.gz")[0][1]
        == "the mask of another organ, written by TotalSegmentator"
    )


def test_totalsegmentator_asks_where_folder_and_json_disagree(tree, imported):
    tree.image("P1/art/ct.nii.gz")
    tree.mask("P1/art/segmentations/liver_lesions.nii.gz")
    tree.json("P1/art/phase.json", {"pi_time": 70.0, "phase": "portal_venous", "probability": 0.6})
    assert imported("totalsegmentator").said("P1/art: the folder says AP, phase.json says portal_venous")
    assert imported("totalsegmentator", "trust_phase=true").row("P1", "PVP")["mask"] != ""


def test_totalsegmentator_takes_no_early_arterial_phase_for_a_late_one(tree, imported):
    tree.image("P1/ct.nii.gz")
    tree.mask("P1/seg/liver_lesions.nii.gz")
    tree.json("P1/phase.json", {"pi_time": 22.0, "phase": "arterial_early", "probability": 0.8})
    assert imported("totalsegmentator").said("an early arterial phase is no late one")
    assert imported("totalsegmentator", "--phase", "arterial_early=AP").row("P1", "AP")


def test_a_nifti_of_another_kind_is_no_reason_for_a_traceback(tree, imported):
    tree.image("P1/art.nii.gz")
    nib.save(
        nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.complex64), np.eye(4)), tree.place("P1/art_seg.nii.gz")
    )
    done = imported("patient-folders")
    assert done.told("P1/art_seg.nii.gz")[0][0] == "not used"
