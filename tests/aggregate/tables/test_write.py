import csv
from dataclasses import replace

import pytest

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.tables.registry import all_tables
from aggregate.tables.results import ResultTables
from aggregate.tables.write import rebuild_tables, write_tables
from pipeline.errors import ResultsError
from pipeline.tables import read_columns, read_table

WRITTEN = {
    "predictions.csv", "cohort.csv", "tune_predictions.csv", "performance.csv", "comparisons.csv", "confusion.csv",
    "calibration.csv", "thresholds.csv", "decision_curve.csv", "subgroups.csv", "confounders.csv", "columns.csv",
}  # fmt: skip
WEIGHTS = "resnet18 (imagenet)"


@pytest.fixture
def folder(tmp_path, predictions, cohort, settings, tuning):
    write_tables(ResultTables(tmp_path, weights=WEIGHTS), predictions, cohort, settings, tuning=tuning)
    return tmp_path


def test_every_table_is_written_to_the_folder_of_the_tables(folder):
    assert [path.name for path in folder.iterdir()] == ["tables"]
    assert {path.name for path in (folder / "tables").iterdir()} == WRITTEN


def test_tables_are_rebuilt_from_the_files_to_the_byte(folder, settings):
    first = {path.name: path.read_bytes() for path in (folder / "tables").glob("*.csv")}
    for path in (folder / "tables").iterdir():
        if path.name not in ("predictions.csv", "cohort.csv", "tune_predictions.csv"):
            path.unlink()
    rebuild_tables(ResultTables(folder, weights=WEIGHTS), settings)
    assert {path.name: path.read_bytes() for path in (folder / "tables").glob("*.csv")} == first


def test_no_cell_is_nan_and_whoever_is_not_estimable_says_why(folder):
    for path in (folder / "tables").glob("*.csv"):
        for row in read_table(path):
            assert not {"nan", "inf", "-inf"} & {cell.lower() for cell in row.values()}, (path.name, row)
            if "not estimable" in row.values():
                reasons = [row.get(name, "") for name in ("ci_method", "note", "chosen_on")]
                single_repeat = row.get("sd_over_repeats") == "not estimable"
                assert single_repeat or any("not estimable: " in reason for reason in reasons), (
                    path.name,
                    row,
                )


def test_every_column_is_explained_in_order(folder):
    found = [(row["file"], row["column"]) for row in read_table(folder / "tables" / "columns.csv")]
    files = [table.file for table in all_tables() if (folder / table.location).exists()]
    written = [pair for pair in found if pair[0] != "checklist.csv"]  # the report writes it later
    assert written == [(file, column) for file in files for column in read_columns(folder / "tables" / file)]
    assert {row["meaning"] for row in read_table(folder / "tables" / "columns.csv")}.isdisjoint({""})


def test_every_row_names_the_weights(folder):
    for path in (folder / "tables").glob("*.csv"):
        if path.name != "columns.csv":
            assert {row["weights"] for row in read_table(path)} == {WEIGHTS}, path.name


def test_no_cell_is_a_formula(tmp_path, predictions, cohort, settings):
    evil = '=HYPERLINK("http://x")'
    changed = CohortFacts(tuple(replace(p, centre=evil) for p in cohort.patients))
    write_tables(ResultTables(tmp_path), predictions, changed, settings)
    with (tmp_path / "tables" / "cohort.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["centre"] == f"'{evil}"


def test_a_decimal_comma_changes_no_number(tmp_path, folder, predictions, cohort, settings, tuning):
    tables = ResultTables(tmp_path / "de", ";", ",", weights=WEIGHTS)
    write_tables(tables, predictions, cohort, settings, tuning=tuning)
    for name in ("performance.csv", "thresholds.csv", "subgroups.csv"):
        german = read_table(tmp_path / "de" / "tables" / name)
        plain = read_table(folder / "tables" / name)
        assert len(german) == len(plain)
        for ours, theirs in zip(german, plain, strict=True):
            for column in ("estimate", "ci_low", "threshold", "n"):
                assert ours.get(column, "").replace(",", ".") == theirs.get(column, "")


def test_a_patient_without_facts_is_named(tmp_path, predictions, cohort, settings):
    with pytest.raises(ResultsError, match="patient 044 has predictions but no row"):
        write_tables(ResultTables(tmp_path), predictions, CohortFacts(cohort.patients[:-1]), settings)


def test_facts_in_another_order_give_the_same_estimates(
    tmp_path, folder, predictions, cohort, settings, tuning
):
    turned = CohortFacts(cohort.patients[::-1])
    tables = ResultTables(tmp_path / "turned", weights=WEIGHTS)
    write_tables(tables, predictions, turned, settings, tuning=tuning)
    for name in ("subgroups.csv", "confounders.csv"):
        assert (tmp_path / "turned" / "tables" / name).read_bytes() == (folder / "tables" / name).read_bytes()


def test_two_classes_fill_every_table(tmp_path, predictions, cohort, settings):
    binary = replace(
        predictions,
        classes=("HCC", "other"),
        labels=(predictions.labels > 0).astype(predictions.labels.dtype),
        probabilities={
            name: p[:, :, :2] / p[:, :, :2].sum(axis=2, keepdims=True)
            for name, p in predictions.probabilities.items()
        },
    )
    write_tables(ResultTables(tmp_path), binary, cohort, settings)
    rows = {
        (r["model"], r["class"], r["metric"]): r for r in read_table(tmp_path / "tables" / "performance.csv")
    }
    assert rows["attention", "macro", "auc"]["estimate"] == rows["attention", "HCC", "auc"]["estimate"]
    assert not any(" vs " in key[1] for key in rows)
