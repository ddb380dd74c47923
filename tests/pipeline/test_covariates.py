"""One rule types a column, and no single cell turns it."""

from datetime import date

import pytest

from pipeline.covariates import Kind, is_missing, read_covariate


def covariate(*cells: str):
    return read_covariate("x", {f"p{i}": cell for i, cell in enumerate(cells)})


def values(*cells: str) -> list[object]:
    return list(covariate(*cells).values.values())


@pytest.mark.parametrize(
    "cell", ["", " ", "NA", "n/a", "N.A.", "nan", "-", "–", "?", "unknown", "#N/A", "null"]
)
def test_a_cell_that_says_nothing_is_missing_and_no_misfit(cell):
    found = covariate("63", cell, "70")
    assert (found.kind, list(found.values.values()), found.misfits) == (Kind.NUMBER, [63.0, None, 70.0], {})


@pytest.mark.parametrize("cell", ["none", "no", "0", "M"])
def test_words_that_say_something_are_not_missing(cell):
    assert not is_missing(cell)


@pytest.mark.parametrize("cell", [">75", "about 70", "1_000", "inf", "seventy", "60-65"])
def test_a_cell_that_is_no_number_leaves_the_column_numeric_and_is_named(cell):
    found = covariate("63", cell, "70", "71")
    assert (found.kind, found.misfits) == (Kind.NUMBER, {"p1": cell})
    assert list(found.values.values()) == [63.0, None, 70.0, 71.0]
    assert f"no number, so treated as missing: {cell!r} (patient p1)" in found.describe()


def test_decimal_commas_are_numbers():
    assert values("63,5", "70,25", "71") == [63.5, 70.25, 71.0]


def test_one_decimal_comma_among_decimal_points_is_a_number_too():
    assert values("63,5", "70.25", "71.5") == [63.5, 70.25, 71.5]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("1,234", "500", "700"), [None, 500.0, 700.0]),  # 1.234 or one thousand and more?
        (("1,234", "500,5", "700"), [1.234, 500.5, 700.0]),  # here commas are decimal signs
        (("1.234", "500,5", "700"), [None, 500.5, 700.0]),  # a point beside decimal commas parts thousands
        (("1.234", "500.5", "700"), [1.234, 500.5, 700.0]),
        (("1,234", "500.5", "700"), [None, 500.5, 700.0]),
        (("0,234", "500", "700"), [0.234, 500.0, 700.0]),  # no thousands begin with 0
    ],
)
def test_a_comma_or_point_that_may_part_thousands_is_not_guessed(cells, expected):
    assert values(*cells) == expected


def test_words_are_a_category_and_numbers_among_them_are_words():
    found = covariate("F", "M", "3", "unknown")
    assert (found.kind, found.words) == (Kind.CATEGORY, {"p0": "F", "p1": "M", "p2": "3", "p3": ""})
    assert found.describe() == "covariate 'x' read as category of 3 words: 3 patients, 1 missing"


def test_iso_dates_are_days():
    found = covariate("2015-03-01", "2015-03-02", "2015-13-01", "NA")
    assert found.kind is Kind.DATE
    assert found.numbers["p1"] == date(2015, 3, 2).toordinal()
    assert found.misfits == {"p2": "2015-13-01"}


def test_an_empty_column_is_a_category_of_no_words():
    assert (covariate("", "NA").kind, covariate("", "NA").levels) == (Kind.CATEGORY, ())


def test_two_unicode_forms_of_a_word_are_one_word():
    assert covariate("Zu\u0308rich", "Z\u00fcrich").levels == ("Z\u00fcrich",)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234.5", "2,345", "987"], [1234.5, 2345.0, 987.0]),
        (["1.234,5", "2.345", "987"], [1234.5, 2345.0, 987.0]),
        (["1,234,567", "2,345"], [1234567.0, 2345.0]),
        (["0.123", "1.234", "2.5"], [0.123, 1.234, 2.5]),
        (["0,123", "1,234"], [0.123, 1.234]),
    ],
)
def test_a_separator_of_thousands_is_known_by_the_other_cells(cells, values):
    found = read_covariate("afp", dict(enumerate(cells)))
    assert found.kind is Kind.NUMBER
    assert list(found.values.values()) == values
    assert not found.doubt


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "2,345", "3,456"],
        ["1.234", "2.345", "3.456"],
        ["50 y", "61 y", "72 y"],
        ["<5", "12%", ">75"],
        ["01.02.2020", "02.02.2020", "03.02.2020"],
    ],
)
def test_what_looks_like_numbers_and_cannot_be_read_is_in_doubt_and_no_category(cells):
    found = read_covariate("afp", dict(enumerate(cells)))
    assert "look like numbers or dates, but cannot be read with certainty" in found.doubt


def test_words_that_begin_with_a_digit_and_come_again_are_a_category():
    found = read_covariate("grade", dict(enumerate(["1a", "1a", "2b", "2b", "1a", "2b"])))
    assert found.kind is Kind.CATEGORY
    assert not found.doubt
