"""The report's table of characteristics types columns by the rule of the models, and names what does not fit."""

import json

import pytest

from aggregate.report.cautions import cautions
from aggregate.report.elements import Table
from aggregate.report.folder import ResultsFolder
from aggregate.report.overview_sections import cohort_section


@pytest.fixture
def folder(tmp_path):
    """Ten patients of two classes, one age missing and one no number."""
    ages = ["50,5", "51", "52", "53", "NA", "61", "62", ">62", "64", "65"]
    days = [f"2015-03-0{i + 1}" for i in range(9)] + ["2015-03-10"]
    rows = ["patient_id,label,centre,age,scanned,sex"]
    rows += [f'p{i},{"ab"[i // 5]},,"{ages[i]}",{days[i]},{"FM"[i % 2]}' for i in range(10)]
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "cohort.csv").write_text("\n".join(rows) + "\n")
    record = {
        "config": {"cohort": {"classes": ["a", "b"]}},
        "covariates": {"age": {"kind": "number", "n_missing": 2, "misfits": {"p7": ">62"}}},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    return ResultsFolder(tmp_path)


def test_one_cell_does_not_take_a_column_out_of_the_table(folder):
    (table,) = (
        e
        for e in cohort_section(folder).elements
        if isinstance(e, Table) and e.columns[0] == "characteristic"
    )
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows["age"] == ["51.5 (50.9–52.2)", "63 (61.8–64.2)", "57 (51.8–62.5)"]
    assert rows["age: not known"] == ["1 (20 %)", "1 (20 %)", "2 (20 %)"]
    assert rows["scanned"][0] == "2015-03-03 (2015-03-02–2015-03-04)"
    assert rows["sex: F"] == ["3 (60 %)", "2 (40 %)", "5 (50 %)"]


def test_cells_that_count_as_missing_are_named_in_the_report(folder):
    assert "Covariate age is a number; cells that are none count as missing: >62 (patient p7)." in cautions(
        folder
    )
