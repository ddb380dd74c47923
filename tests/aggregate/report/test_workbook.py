"""results.xlsx: what a clinician opens, read back cell by cell."""

import shutil

import numpy as np
import pytest
from openpyxl import load_workbook

from aggregate.predictions import Predictions
from aggregate.report.folder import ResultsFolder
from aggregate.report.spreadsheet import Sheet, SheetColumn, write_sheets
from aggregate.report.workbook import SYNTHETIC, WORKBOOK, write_workbook
from aggregate.report.workbook_sheets import BASELINE, PLAIN, patients_sheet
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.tables.cohort import COHORT
from aggregate.tables.dictionary import write_columns
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables
from pipeline.tables import read_table


def written(folder):
    write_columns(ResultTables(folder))
    write_workbook(ResultsFolder(folder))
    return load_workbook(folder / WORKBOOK)


def rows_of(sheet):
    header, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


def told(book):
    return {row[0]: row[1] for row in book["start here"].iter_rows(values_only=True) if row[0]}


@pytest.fixture
def three() -> Predictions:
    """Three patients and two repeats, to be worked by hand."""
    mean = [[0.75, 0.25], [0.5, 0.5], [0.375, 0.625]]
    first = np.array([[0.75, 0.25], [0.625, 0.375], [0.3125, 0.6875]])
    return Predictions(
        classes=("HCC", "iCCA"),
        patient_ids=("007", "008", "009"),
        labels=np.array([0, 0, 0]),
        fold=np.zeros((2, 3), dtype=np.intp),
        probabilities={"attention": np.stack([first, 2 * np.array(mean) - first])},
        n_slices=np.array([5, 6, 7]),
        phases=("AP+PVP", "PVP", "AP+PVP"),
    )


def test_a_patient_has_means_agreement_and_flags_worked_by_hand(tmp_path, three):
    tables = ResultTables(tmp_path)
    facts = {"centre": "", "tumour_volume_ml": None, "slice_thickness_mm": None}
    names = {"phase": (), "covariate": ()}
    cohort = [{"patient_id": n, "label": "HCC", "phases_present": "PVP", "phases_missing": gone, **facts}
              for n, gone in (("007", ""), ("008", "NC+AP"), ("009", ""), ("010", ""))]  # fmt: skip
    tables.write(COHORT, cohort, names)
    left_out = [("010", "", "splits", "in no fold"), ("011", "", "cohort", "no label"), ("009", "DP", "bags", "no mask"),
                ("007", "", "model attention", "no bag in its set"), ("008", "", "model other", "none")]  # fmt: skip
    tables.write(EXCLUDED, [dict(zip(EXCLUDED.header(), row, strict=True)) for row in left_out])
    (tmp_path / "run.json").write_text("{}")
    sheet = patients_sheet(ResultsFolder(tmp_path), three, "attention")
    assert [column.name for column in sheet.columns] == [
        "patient", "reference", "predicted", "correct", "agreement", "p HCC", "p iCCA", "phases", "slices", "flags"
    ]  # fmt: skip
    wrong = "misclassified in every repeat"
    assert [list(row) for row in sheet.rows] == [
        ["007", "HCC", "HCC", "yes", 1.0, 0.75, 0.25, "AP+PVP", 5, "not seen by attention: no bag in its set"],
        ["008", "HCC", "HCC", "yes", 0.5, 0.5, 0.5, "PVP", 6, "missing phase: NC, AP"],  # equal: the first class
        ["009", "HCC", "iCCA", "no", 1.0, 0.375, 0.625, "AP+PVP", 7, f"{wrong}; DP left out: no mask"],
        ["010", "HCC", *[None] * 7, "left out: in no fold"],
        ["011", None, *[None] * 7, "left out: no label"],
    ]  # fmt: skip


def test_the_sheets_of_a_run_and_what_they_answer(write_results):
    book = written(write_results(explained=False))
    assert book.sheetnames == ["start here", "patients", "performance", "dictionary"]
    said = told(book)
    assert said["Patients"] == "60 (HCC 20, iCCA 20, cHCC-CCA 20), each predicted once in 2 repeats"
    assert {f"Sheet {name}" for name in book.sheetnames[1:]} <= said.keys()
    assert "95 % confidence interval" in said["Intervals"]
    assert [book[name].freeze_panes for name in book.sheetnames] == ["A2", "B2", "B2", "A2"]
    assert book["patients"]["F2"].number_format == "0.00"
    assert book["patients"]["E2"].number_format == "0%"
    assert len(rows_of(book["patients"])) == 61  # and the one left out


def test_synthetic_patients_are_said_to_be_so_in_the_first_lines_and_real_ones_not(write_results, tmp_path):
    ceiling = {"observer": "reads the signs", "n_patients": 40, "auc": {"macro": 0.904}}
    sheet = written(write_results(explained=False, ceiling=ceiling))["start here"]
    assert sheet["B2"].value == SYNTHETIC
    assert "SYNTHETIC PATIENTS" in SYNTHETIC
    shutil.rmtree(tmp_path / "toy")
    real = written(write_results(explained=False, ceiling=None))["start here"]
    assert SYNTHETIC not in [row[1] for row in real.iter_rows(values_only=True)]


def test_the_model_of_the_report_is_shown_with_how_it_was_chosen(write_results):
    folder = write_results(explained=False)
    said = told(written(folder))
    best = "attention (the only model of images)"
    assert said["Model shown"] == f"{best}, on the sheet patients as in report.html"
    assert said["Declared comparison"].startswith("None was declared")
    primary = '"statistics": {"primary": {"model_a": "bag_size", "model_b": "attention", "metric": "auc"}}'
    record = (folder / "run.json").read_text()
    declared = f'"seed": 0, "explained_model": "bag_size", {primary}'
    (folder / "run.json").write_text(record.replace('"seed": 0', declared))
    said = told(written(folder))
    assert said["Model shown"].startswith("bag_size (declared before the results), on")
    assert said["Declared comparison"].startswith("bag_size with attention by macro AUC, declared")


def test_performance_has_the_numbers_of_the_table(write_results):
    folder = write_results(explained=False)
    rows = {row["model"]: row for row in rows_of(written(folder)["performance"])}
    for found in ResultTables(folder).read(PERFORMANCE):
        title = {"macro": "macro AUC"}.get(found["class"], f"AUC {found['class']}")
        if found["metric"] == "auc" and title in rows[found["model"]]:
            of_model = rows[found["model"]]
            shown = [of_model[name] for name in (title, f"{title} low", f"{title} high")]
            assert shown == pytest.approx([found["estimate"], found["ci_low"], found["ci_high"]])
            assert of_model["patients"] == found["n"] or " vs " in found["class"]


def test_every_model_of_the_table_has_a_row_and_a_role(write_results):
    folder = write_results(explained=False)
    tables = ResultTables(folder)
    part = [row | {"model": "phase_AP"} for row in tables.read(PERFORMANCE) if row["model"] == "attention"]
    tables.write(PERFORMANCE, [*tables.read(PERFORMANCE), *part])
    roles = {row["model"]: row["role"] for row in rows_of(written(folder)["performance"])}
    assert list(roles.items()) == [("attention", "model"), ("phase_AP", PLAIN), ("bag_size", BASELINE)]


def test_the_dictionary_explains_every_column_of_the_workbook_and_of_every_table(write_results):
    folder = write_results(explained=False)
    book = written(folder)
    explained = {(row["where"], row["column"]): row["meaning"] for row in rows_of(book["dictionary"])}
    assert all(explained.values())
    for name in book.sheetnames[1:-1]:
        assert {(f"sheet {name}", column) for column in rows_of(book[name])[0]} <= explained.keys()
    of_files = {
        (f"tables/{row['file']}", row["column"]) for row in read_table(folder / "tables" / "columns.csv")
    }
    assert of_files <= explained.keys()
    assert ("tables/performance.csv", "metric = auc") in explained


def test_a_study_has_its_leaderboard(write_results):
    folder = write_results(explained=False)
    tables = ResultTables(folder)
    names = {"factor": ["encoder"]}
    row = dict.fromkeys(LEADERBOARD.header(names)) | {
        "rank": 1,
        "model": "=a/b",
        "estimate": 0.75,
        "pareto": True,
    }
    tables.write(LEADERBOARD, [row], names)
    book = written(folder)
    assert book.sheetnames == ["start here", "leaderboard", "dictionary"]
    (found,) = rows_of(book["leaderboard"])
    assert (found["rank"], found["model"], found["estimate"], found["pareto"]) == (1, "=a/b", 0.75, "yes")
    assert "Sheet leaderboard" in told(book)


def test_nothing_in_a_workbook_is_run_and_what_it_cannot_hold_has_a_sign(tmp_path):
    evil = ['=HYPERLINK("http://x")', "+1", "-1", "@x", "a\x01b"]
    write_sheets(tmp_path / "x.xlsx", [Sheet("s", [SheetColumn("=name", "")], [[text] for text in evil])])
    cells = [row[0] for row in load_workbook(tmp_path / "x.xlsx")["s"].iter_rows()]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [cell.value for cell in cells] == ["=name", *evil[:-1], "a\N{REPLACEMENT CHARACTER}b"]


def test_equal_results_give_equal_bytes(write_results):
    folder = write_results(explained=False)
    written(folder)
    first = (folder / WORKBOOK).read_bytes()
    written(folder)
    assert (folder / WORKBOOK).read_bytes() == first
