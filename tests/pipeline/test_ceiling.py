"""The ceiling of a synthetic cohort is told of that cohort and of no other."""

import pytest

from pipeline.ceiling import CEILING, Ceiling, read_ceiling, was_drawn, write_ceiling

FOUND = Ceiling("knows", 3, {"macro": 0.9, "a": 0.8, "b": 1.0})


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text("patient_id\np1\n")
    write_ceiling(path, FOUND)
    return path


def test_it_is_read_as_it_was_written(table):
    assert read_ceiling(table) == FOUND


def test_another_table_in_its_place_has_none(table):
    table.write_text("patient_id\nreal\n")
    assert read_ceiling(table) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cohort_sha256": 1}'])
def test_a_file_that_is_no_ceiling_is_none(table, content):
    table.with_name(CEILING).write_text(content)
    assert read_ceiling(table) is None


def test_real_patients_have_none(table):
    table.with_name(CEILING).unlink()
    assert read_ceiling(table) is None
    assert read_ceiling(table.with_name("none.csv")) is None


def test_a_cohort_stays_one_that_was_drawn_when_its_table_is_saved_again(tmp_path):
    table = tmp_path / "cohort.csv"
    table.write_text("patient_id;label\n")
    assert not was_drawn(table)
    write_ceiling(table, Ceiling("reads the signs", 1, {"macro": 0.9}))
    table.write_text("patient_id,label\n")
    assert read_ceiling(table) is None
    assert was_drawn(table)
