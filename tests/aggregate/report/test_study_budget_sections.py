"""The section on a study within a budget."""

import json

import pytest

from aggregate.report.elements import Note, Table
from aggregate.report.folder import ResultsFolder
from aggregate.report.study_budget_sections import SECTIONS
from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.selection import BASELINE, HALVED, SELECTION
from aggregate.tables.results import ResultTables

ROWS = [
    {"rank": 1, "model": "a/all", "tried": "yes", "n_picked": 4, "n_folds": 5, "rung": 1.8, "score": -0.61, "seconds": 3.0},
    {"rank": None, "model": "b/all", "tried": "not tried: budget", "n_picked": 0, "n_folds": 0, "rung": None, "score": None,
     "seconds": None},
]  # fmt: skip
SELECTED = [
    {"what": HALVED, "model": "a/all", "estimate": 0.8, "ci_low": 0.7, "ci_high": 0.9, "ci_method": "m", "n": 60},
    {"what": BASELINE, "model": "majority", "estimate": 0.5, "ci_low": 0.5, "ci_high": 0.5, "ci_method": "m", "n": 60},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"config": {}}))
    return ResultsFolder(tmp_path)


def test_it_tells_the_estimate_what_was_picked_and_what_was_left_out(folder):
    tables = ResultTables(folder.path)
    levels = {"factor aggregator": "x"}
    tables.write(HALVING_SUMMARY, [{**row, **levels} for row in ROWS], {"factor": ["aggregator"]})
    tables.write(SELECTION, SELECTED)
    note, picked, estimates = SECTIONS[0](folder).elements
    assert isinstance(note, Note)
    assert (
        "0.80 [0.70,\N{NO-BREAK SPACE}0.90] (95 % CI). 1 of 2 configurations were tried. 1 were" in note.text
    )
    assert isinstance(picked, Table)
    assert picked.rows == [["1", "a/all", "4 of 5", "1.8", "-0.610", "3.0"]]
    assert [row[1] for row in estimates.rows] == ["a/all", "majority"]


def test_a_folder_of_another_run_says_why_it_is_empty(folder):
    (note,) = SECTIONS[0](folder).elements
    assert note.text.startswith(
        "A search within a budget: not available, since halving_summary.csv is missing"
    )
