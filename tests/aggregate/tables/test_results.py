"""Tables as they are read: typed, or refused by line and column."""

import pytest

from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.tables.comparisons import COMPARISONS
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables, percent
from aggregate.tables.rows import BELOW_SMALLEST
from aggregate.tables.splits import SPLITS
from pipeline.errors import ResultsError


@pytest.fixture
def tables(tmp_path) -> ResultTables:
    (tmp_path / "tables").mkdir()
    return ResultTables(tmp_path)


def test_the_level_is_said_in_percent():
    assert [percent(level) for level in (0.95, 0.9, 0.975, 0.55)] == ["95 %", "90 %", "97.5 %", "55 %"]


def test_cells_become_what_their_columns_hold(tables):
    tables.path(COMPARISONS).write_text(
        "model_a,difference,p_value,p_adjusted,n_comparisons,primary,remark\n"
        '007,-0.25,<0.0001,not estimable,3.0,TRUE,mine\n008,"0,5",0.04,,1,no,\n'
    )
    first, second = tables.read(COMPARISONS)
    assert list(first.values()) == ["007", -0.25, BELOW_SMALLEST, NOT_ESTIMABLE, 3, True, "mine"]
    assert list(second.values()) == ["008", 0.5, 0.04, None, 1, False, ""]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("fold", "-1", "expected a whole number from 0 in fold, found '-1'"),
        ("fold", "1.5", "expected a whole number from 0 in fold, found '1.5'"),
        ("repeat", "first", "expected a whole number from 0 in repeat, found 'first'"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused_with_its_line_and_patient(tables, column, cell, message):
    values = {"patient_id": "007", "repeat": "0", "fold": "0", "role": "test"} | {column: cell}
    tables.path(SPLITS).write_text(",".join(values) + "\n" + ",".join(values.values()) + "\n")
    with pytest.raises(ResultsError, match=rf"splits\.csv, line 2, patient '007': {message}"):
        tables.read(SPLITS)


def test_a_column_that_the_file_lacks_is_named_when_it_is_asked_for(tables):
    tables.path(PERFORMANCE).write_text("model,n\nattention,60\n")
    (row,) = tables.read(PERFORMANCE)
    assert (row["n"], row.get("estimate")) == (60, None)
    with pytest.raises(ResultsError, match=r"performance\.csv: expected a column 'estimate', found model, n"):
        row["estimate"]
