import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ResultsError
from pipeline.tables import (
    TableStyle,
    format_cell,
    number_in,
    read_columns,
    read_lines,
    read_table,
    whole_number_in,
    write_table,
)

GERMAN = TableStyle(separator=";", decimal=",")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500000"),
        (np.float32(0.25), "0.250000"),
        (-1.0, "-1.000000"),
        (-1e-12, "0.000000"),
        (7, "7"),
        (None, ""),
        (math.nan, ""),
        ("HCC", "HCC"),
        ("=1+1", "'=1+1"),
        ("@cmd", "'@cmd"),
        ("-2", "'-2"),
        ("'=1", "''=1"),
        (True, "True"),
    ],
)
def test_cells(value, text):
    assert format_cell(value, TableStyle()) == text


def test_a_decimal_comma_is_for_numbers_only():
    assert format_cell(0.5, GERMAN) == "0,500000"
    assert format_cell("v1.5", GERMAN) == "v1.5"


@settings(max_examples=25, deadline=None)  # a loaded machine is no fault of the table
@given(st.lists(st.tuples(st.text(alphabet=st.characters(codec="utf-8")), st.integers())))
def test_any_text_comes_back(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    for style in (TableStyle(), GERMAN):
        write_table(path, ("a", "b"), [{"a": a, "b": b} for a, b in cells], style=style)
        assert [(row["a"], int(row["b"])) for row in read_table(path, style=style)] == [
            (a, b) for a, b in cells
        ]


def test_the_order_of_columns_and_rows_is_kept(tmp_path):
    write_table(tmp_path / "t.csv", ("b", "a"), [{"a": 1, "b": 2}, {"a": 0, "b": 9}])
    assert (tmp_path / "t.csv").read_bytes() == b"b,a\n2,1\n9,0\n"


def test_a_column_whose_name_is_a_formula_is_neutralised_and_comes_back(tmp_path):
    write_table(tmp_path / "t.csv", ("=a",), [{"=a": 1}])
    assert (tmp_path / "t.csv").read_text() == "'=a\n1\n"
    assert read_columns(tmp_path / "t.csv") == ["=a"]
    assert read_table(tmp_path / "t.csv") == [{"=a": "1"}]


@pytest.mark.parametrize("row", [{"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_a_row_that_does_not_fit_leaves_no_file(tmp_path, row):
    with pytest.raises(ResultsError, match="are missing or not expected"):
        write_table(tmp_path / "t.csv", ("a", "b"), [row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [read_table, read_columns])
def test_a_missing_table_is_named(tmp_path, read):
    with pytest.raises(ResultsError, match=r"t\.csv: no such table"):
        read(tmp_path / "t.csv")


SAVED_AGAIN = {
    "byte order mark": "\ufeffa,b\n1,0.5\n",
    "another line end": "a,b\r\n1,0.5\r\n",
    "semicolons and decimal commas": "a;b\n1;0,5\n",
    "tabs": "a\tb\n1\t0.5\n",
    "rows without text": "a,b\n,\n1,0.5\n,\n",
    "empty cells at the end": "a,b,\n1,0.5,\n",
}


@pytest.mark.parametrize("text", SAVED_AGAIN.values(), ids=SAVED_AGAIN)
def test_a_table_that_a_spreadsheet_saved_again_is_read(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    (line,) = read_lines(tmp_path / "t.csv")
    assert (line.cells["a"], number_in(line.cells["b"])) == ("1", 0.5)
    assert read_columns(tmp_path / "t.csv") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"t\.csv, line 3: expected 2 cells as in the header, found 1 \(3 \.\.\.\)"),
        ("a,b\n1,2,3\n", r"t\.csv, line 2: expected 2 cells as in the header, found 3 \(1, 2, 3 \.\.\.\)"),
        ("a,a\n1,2\n", "expected every column once, found 'a' twice"),
        ('a,b\n1,"2\n3,4\n', r"line 3: not CSV: unexpected end of data"),
    ],
    ids=["short row", "long row", "column twice", "unclosed quote"],
)
def test_a_damaged_table_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ResultsError, match=message):
        read_lines(tmp_path / "t.csv")


def test_text_of_another_encoding_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,b\né,2\n".encode("latin-1"))
    with pytest.raises(ResultsError, match="expected UTF-8 text; save it again as CSV UTF-8"):
        read_lines(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("cell", "number", "whole"),
    [
        ("0.25", 0.25, None),
        ("0,25", 0.25, None),
        ("1e-3", 0.001, None),
        ("3", 3.0, 3),
        ("3.0", 3.0, 3),
        ("3,0", 3.0, 3),
        ("1.234,5", None, None),
        ("1,234.5", None, None),
        ("", None, None),
        ("nan", None, None),
        ("x", None, None),
    ],
)
def test_a_number_is_told_or_it_is_none(cell, number, whole):
    assert (number_in(cell), whole_number_in(cell)) == (number, whole)
