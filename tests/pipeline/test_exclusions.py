"""excluded.csv of stage 1, which variants share."""

import pytest

from pipeline.cohort import Exclusion
from pipeline.exclusions import (
    by_variant,
    read_exclusions,
    write_exclusions,
    write_exclusions_of_variants,
)
from pipeline.tables import read_table

BOTH = Exclusion("p", "AP", "extract", "truncated")
ONE = Exclusion("q", "", "extract", "no phase could be used")


def test_what_all_variants_have_is_one_row_and_the_rest_is_named():
    found = list(by_variant({"a": [BOTH], "b": [BOTH, ONE]}, ["a", "b"]))
    assert found == [("", BOTH), ("b", ONE)]


def test_nothing_is_said_of_a_variant_that_was_not_made():
    assert list(by_variant({"a": [BOTH, BOTH]}, ["a", "b"])) == [("a", BOTH)]


def test_the_rows_of_a_variant_are_found_from_its_folder(tmp_path):
    write_exclusions_of_variants(tmp_path, {"a": [BOTH], "b": [BOTH, ONE]}, ["a", "b"])
    assert [row["variant"] for row in read_table(tmp_path / "excluded.csv")] == ["", "b"]
    assert read_exclusions(tmp_path / "a") == (BOTH,)
    assert read_exclusions(tmp_path / "b") == (BOTH, ONE)


@pytest.mark.parametrize("folder", ["bags", "bags/a"])
def test_a_table_of_bags_without_variants_speaks_of_its_own_folder_only(tmp_path, folder):
    write_exclusions(tmp_path / "bags", [BOTH])
    assert read_exclusions(tmp_path / folder) == ((BOTH,) if folder == "bags" else ())
    assert list(read_table(tmp_path / "bags" / "excluded.csv")[0]) == [
        "patient_id",
        "phase",
        "stage",
        "reason",
    ]


def test_no_table_excludes_nobody(tmp_path):
    assert read_exclusions(tmp_path / "bags") == ()
