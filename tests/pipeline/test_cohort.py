"""Reading the cohort table: text stays text, faults become exclusions, the rest goes on."""

import pytest

from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from pipeline.errors import CohortError


def cohort(tmp_path, *rows: str, header: str = "patient_id,phase,image,mask,label", **section):
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return read_cohort(CohortSection(table=table, **section))


def test_a_patient_named_007_stays_007(tmp_path):
    assert cohort(tmp_path, "007,AP,a.nii.gz,m.nii.gz,HCC").patients[0].patient_id == "007"


@pytest.mark.parametrize(
    ("text", "phase"), [("art", "AP"), ("0000", "NC"), ("VEN", "PVP"), ("Delayed", "DP")]
)
def test_phase_aliases_of_public_datasets_are_known(tmp_path, text, phase):
    assert list(cohort(tmp_path, f"p,{text},a,m,HCC").patients[0].scans) == [phase]


@pytest.mark.parametrize(
    ("text", "label"), [("ICC", "iCCA"), ("cca", "iCCA"), ("cHCC-CC", "cHCC-CCA"), ("hcc", "HCC")]
)
def test_label_aliases_are_known(tmp_path, text, label):
    assert cohort(tmp_path, f"p,AP,a,m,{text}").patients[0].label == label


def test_paths_are_relative_to_the_table(tmp_path):
    scan = cohort(tmp_path, "p,AP,sub/a.nii.gz,m.nii.gz,HCC").patients[0].scans["AP"]
    assert scan.image == tmp_path / "sub" / "a.nii.gz"


def test_unknown_columns_are_covariates(tmp_path):
    rows = cohort(tmp_path, "p,AP,a,m,HCC,63,F", header="patient_id,phase,image,mask,label,age,sex")
    assert rows.patients[0].covariates == {"age": "63", "sex": "F"}


def test_an_unknown_phase_excludes_its_row_and_the_rest_goes_on(tmp_path):
    found = cohort(tmp_path, "p,AP,a,m,HCC", "p,T2,b,m,HCC")
    assert list(found.patients[0].scans) == ["AP"]
    (exclusion,) = found.exclusions
    assert (exclusion.patient_id, exclusion.phase) == ("p", "T2")
    assert exclusion.reason.startswith("line 3: unknown phase 'T2'; expected one of NC, AP, PVP, DP")


def test_an_unknown_label_is_reported_and_the_scan_kept(tmp_path):
    found = cohort(tmp_path, "p,AP,a,m,HCG")
    assert found.patients[0].label is None
    assert "unknown label 'HCG'; expected one of HCC, iCCA, cHCC-CCA" in found.exclusions[0].reason


def test_a_duplicate_patient_and_phase_is_excluded_with_both_lines(tmp_path):
    found = cohort(tmp_path, "p,AP,a,m,HCC", "p,art,b,m,HCC", "p,DP,c,m,HCC")
    assert list(found.patients[0].scans) == ["DP"]
    assert "lines 2, 3 name the same patient and phase" in found.exclusions[0].reason


def test_a_patient_without_a_usable_row_is_excluded_whole(tmp_path):
    found = cohort(tmp_path, "p,AP,a,m,HCC", "q,T2,b,m,HCC", "r,AP,c,m,HCC", "r,AP,d,m,HCC")
    assert [patient.patient_id for patient in found.patients] == ["p"]
    assert {e.patient_id for e in found.exclusions if not e.phase} == {"q", "r"}


def test_one_mask_per_lesion_is_no_duplicate(tmp_path):
    header = "patient_id,phase,image,mask,label,lesion_id"
    found = cohort(tmp_path, "p,AP,a,m1,HCC,1", "p,AP,a,m2,HCC,2", header=header)
    assert [name for name, _ in found.patients[0].scans["AP"].masks] == ["1", "2"]
    assert not found.exclusions


@pytest.mark.parametrize("patient_id", ["../p", ".hidden", "a/b", ""])
def test_an_identifier_that_cannot_name_a_file_is_excluded(tmp_path, patient_id):
    assert "cannot be a file name" in cohort(tmp_path, f"{patient_id},AP,a,m,HCC").exclusions[0].reason


def test_header_overrides_are_read(tmp_path):
    header = "patient_id,phase,image,mask,label,spacing_z,flip_z,hu_intercept"
    overrides = cohort(tmp_path, "p,AP,a,m,HCC,5,yes,-1024", header=header).patients[0].scans["AP"].overrides
    assert overrides.spacing_mm == (None, None, 5.0)
    assert (overrides.flip_z, overrides.hu_slope, overrides.hu_intercept) == (True, 1.0, -1024.0)


def test_a_semicolon_table_with_a_byte_order_mark_is_read(tmp_path):
    table = tmp_path / "cohort.csv"
    table.write_text("patient_id;phase;image;mask;label\np;AP;a;m;HCC\n", encoding="utf-8-sig")
    assert read_cohort(CohortSection(table=table)).patients[0].label == "HCC"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,phase,image,mask\n", "column 'label' is missing"),
        ("patient_id,phase,image,mask,label\n", "expected at least one row"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(tmp_path, text, message):
    (tmp_path / "cohort.csv").write_text(text)
    with pytest.raises(CohortError, match=message):
        read_cohort(CohortSection(table=tmp_path / "cohort.csv"))


def test_a_missing_table_says_where_it_was_expected(tmp_path):
    with pytest.raises(CohortError, match="no such cohort table"):
        read_cohort(CohortSection(table=tmp_path / "nowhere.csv"))


@pytest.mark.parametrize(
    "cell", ["spacing_x,0", "spacing_z,-3", "hu_slope,nan", "hu_slope,0", "hu_intercept,inf", "spacing_y,x"]
)
def test_an_override_that_no_header_could_hold_is_recorded(tmp_path, cell):
    column, value = cell.split(",")
    found = cohort(tmp_path, f"p,AP,a,m,HCC,{value}", header=f"patient_id,phase,image,mask,label,{column}")
    assert column in found.exclusions[0].reason
    assert not found.patients


def test_a_folder_in_the_place_of_the_table_is_named(tmp_path):
    with pytest.raises(CohortError, match="expected a CSV table, found: Is a directory"):
        read_cohort(CohortSection(table=tmp_path))


def test_a_column_that_says_two_things_of_a_patient_is_empty_and_told(tmp_path):
    header = "patient_id,phase,image,mask,label,age"
    (patient,) = cohort(tmp_path, "p,AP,a,m,HCC,50", "p,DP,b,m,HCC,60", header=header).patients
    assert patient.covariates == {"age": ""}
    assert "'50' (line 2), '60' (line 3)" in patient.contradictions["age"]


def test_a_patient_of_two_centres_is_excluded_by_name(tmp_path):
    header = "patient_id,phase,image,mask,label,centre"
    found = cohort(tmp_path, "p,AP,a,m,HCC,A", "p,DP,b,m,HCC,B", header=header)
    assert found.patients == ()
    assert "column 'centre' says 'A' (line 2), 'B' (line 3)" in found.exclusions[0].reason


def test_an_empty_cell_contradicts_nothing(tmp_path):
    header = "patient_id,phase,image,mask,label,centre,age"
    (patient,) = cohort(tmp_path, "p,AP,a,m,HCC,,", "p,DP,b,m,HCC,B,60", header=header).patients
    assert (patient.centre, patient.covariates["age"]) == ("B", "60")


@pytest.mark.parametrize(
    ("column", "value"), [("spacing_z", "5"), ("hu_intercept", "-1024"), ("liver_mask", "l.nii.gz")]
)
def test_what_one_lesion_says_of_its_scan_holds_for_the_scan_whichever_row_says_it(tmp_path, column, value):
    head = f"patient_id,phase,image,mask,label,lesion_id,{column}"
    table = tmp_path / "c.csv"
    table.write_text(f"{head}\na,AP,i.nii,m1.nii,HCC,1,\na,AP,i.nii,m2.nii,HCC,2,{value}\n")
    (patient,) = read_cohort(CohortSection(table=table)).patients
    scan = patient.scans["AP"]
    said = {"spacing_z": scan.overrides.spacing_mm[2], "hu_intercept": scan.overrides.hu_intercept}
    assert said.get(column) == float(value) if column in said else scan.liver_mask == tmp_path / value


def test_lesions_of_one_scan_that_disagree_about_it_leave_the_scan_out(tmp_path):
    table = tmp_path / "c.csv"
    table.write_text(
        "patient_id,phase,image,mask,label,lesion_id,spacing_z\na,AP,i.nii,m1.nii,HCC,1,3\na,AP,i.nii,m2.nii,HCC,2,5\n"
    )
    cohort = read_cohort(CohortSection(table=table))
    assert "column 'spacing_z' says '3' (line 2), '5' (line 3) of one scan" in cohort.exclusions[0].reason


def test_a_table_of_patients_alone_is_for_stage_2_only(tmp_path):
    rows = ("007,ICC,63", "p2,,50", "../p3,HCC,1")
    with pytest.raises(CohortError, match="phase"):
        cohort(tmp_path, *rows, header="patient_id,label,age")
    found = read_cohort(CohortSection(table=tmp_path / "cohort.csv"), needs_scans=False)
    assert [(p.patient_id, p.label, p.covariates["age"]) for p in found.patients] == [
        ("007", "iCCA", "63"),
        ("p2", None, "50"),
    ]
    assert all(not patient.scans for patient in found.patients)
    assert {e.patient_id for e in found.exclusions} == {"../p3"}


def test_a_table_with_some_columns_of_scans_is_no_table_of_patients(tmp_path):
    with pytest.raises(CohortError, match="image"):
        cohort(tmp_path, "p,AP,HCC", header="patient_id,phase,label")
    with pytest.raises(CohortError, match="image"):
        read_cohort(CohortSection(table=tmp_path / "cohort.csv"), needs_scans=False)


def test_rows_of_one_patient_alone_must_agree(tmp_path):
    table = tmp_path / "cohort.csv"
    table.write_text("patient_id,label,centre\np,HCC,A\np,ICC,A\nq,HCC,A\nq,HCC,B\n")
    found = read_cohort(CohortSection(table=table), needs_scans=False)
    assert [(p.patient_id, p.label) for p in found.patients] == [("p", None)]
    assert {(e.patient_id, e.stage) for e in found.exclusions} == {("p", "label"), ("q", "cohort")}
