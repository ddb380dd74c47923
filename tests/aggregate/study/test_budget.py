"""`aggregate.py study --budget`: what is tried, told and kept, and that the estimate is of the whole procedure."""

import re

import numpy as np
import pytest

from aggregate.model_section import ModelSection
from aggregate.planning.study_grid import Configuration
from aggregate.study.halving import HALVING_SUMMARY, HALVING_TABLE, summary_rows
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.selection import BASELINE, HALVED, SELECTION
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS
from tests.aggregate.conftest import QUICK, command, contents

LINEAR = f"""{QUICK}[aggregate.study.phases]
all = []
arterial = ["AP"]
[aggregate.study.aggregators.mean]
kind = "mean_pooling"
strengths = [1.0]
[aggregate.study.aggregators.mixed]
kind = "average"
[aggregate.study.aggregators.mixed.models.pooled]
kind = "phase_pooling"
strengths = [1.0]
"""


@pytest.fixture
def toml(experiment_folder):
    return experiment_folder(LINEAR)


@pytest.fixture
def out(toml):
    return toml.parent / "out"


def test_the_plan_of_the_budget_is_told_and_every_configuration_has_its_row(toml, out):
    said = command("study", toml, "--budget", 10, "baselines=true")
    assert "Budget 10 min, of which trying the configurations took" in said
    assert re.search(r"In each fold: 4 on \d+ patients(, 2 on \d+ patients)?, scored on 3 inner folds", said)
    assert "1 of 1 repeats, about" in said
    tables = ResultTables(out)
    rows = tables.read(HALVING_TABLE)
    assert len(rows) == 2 * 4
    assert [sum(row["picked"] for row in rows if row["fold"] == fold) for fold in (0, 1)] == [1, 1]
    assert all(row["seconds"] > 0 and row["n"] > 0 for row in rows)
    summary = tables.read(HALVING_SUMMARY)
    assert [row["rank"] for row in summary] == [1, 2, 3, 4]
    assert sum(row["n_picked"] for row in summary) == 2
    assert {row["tried"] for row in summary} == {"yes"}
    assert {row["factor aggregator"] for row in summary} == {"mean", "mixed"}
    assert not tables.holds(LEADERBOARD)
    halved, *baselines = tables.read(SELECTION)
    assert halved["what"] == HALVED
    assert halved["estimate"] > 0.7
    assert "majority" in {row["model"] for row in baselines}
    assert {row["what"] for row in baselines} == {BASELINE}


def test_the_summary_ranks_a_configuration_without_a_score_after_those_with_one():
    """As where an inner fold could not train it: `None` in the table, and not a score of its own."""
    grid = [Configuration(name, {"aggregator": name}, ModelSection(kind="majority")) for name in "abc"]
    scores = {"a": (None, None), "b": (-1.5, None), "c": (-1.0, -0.5)}
    rows = [
        {"model": name, "rung": 1, "score of rung 1": score, "seconds": 1.0, "picked": False}
        for name, of_folds in scores.items()
        for score in of_folds
    ]
    found = {row["model"]: (row["rank"], row["score"]) for row in summary_rows(rows, grid)}
    assert found == {"c": (1, -0.75), "b": (2, -1.5), "a": (3, None)}


def test_the_tables_follow_from_halving_csv_and_the_predictions(toml, out):
    command("study", toml, "--budget", 10)
    before = contents(out)
    command("tables", out)
    after = contents(out)
    for name in ("tables/halving_summary.csv", "tables/selection.csv", "tables/halving.csv"):
        assert after[name] == before[name]


def test_the_same_command_again_fits_nothing_and_says_the_same(toml, out, monkeypatch):
    command("study", toml, "--budget", 10)
    before = contents(out)
    monkeypatch.setattr("aggregate.fitting.cross_validation._fit_one", None)
    monkeypatch.setattr("aggregate.fitting.within_budget._seconds_of", None)
    command("study", toml, "--budget", 10)
    after = contents(out)
    changed = {name for name, text in after.items() if text != before[name]}
    assert {name for name in changed if not name.startswith("paper/")} <= {
        "run.json",
        "report.html",
        "results.xlsx",
    }


def test_a_budget_of_a_moment_tries_one_configuration_in_one_repeat_and_lists_the_others(toml, out):
    said = command("study", toml, "--budget", 0.01, "splits.repeats=3")
    assert "One repeat takes longer than the budget, and is completed nevertheless" in said
    rows = ResultTables(out).read(HALVING_SUMMARY)
    assert [row["tried"] for row in rows].count("not tried: budget") == 4 - len(
        {row["model"] for row in ResultTables(out).read(HALVING_TABLE)}
    )
    assert [row["rank"] for row in rows if row["tried"] != "yes"] == [None] * 3
    assert {row["repeat"] for row in ResultTables(out).read(SPLITS)} == {0}


def test_the_choice_of_a_fold_does_not_see_its_test_patients(toml, out):
    """Other labels of the test patients of fold 0 leave the search in fold 0 as it was."""
    command("study", toml, "--budget", 10, "jobs=1")
    tables = ResultTables(out)
    before = [dict(row) for row in tables.read(HALVING_TABLE) if row["fold"] == 0]
    splits = tables.read(SPLITS)
    tested = [row["patient_id"] for row in splits if row["fold"] == 0 and row["role"] == "test"]
    (toml.parent / "splits.csv").write_bytes((out / "tables" / "splits.csv").read_bytes())
    table = toml.parent / "cohort.csv"
    lines = table.read_text().splitlines()
    others = {"HCC": "iCCA", "iCCA": "cHCC-CCA", "cHCC-CCA": "HCC"}
    for i, line in enumerate(lines):
        cells = line.split(",")
        if cells[0] in tested:
            cells[4] = others[cells[4]]
            lines[i] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    command("study", toml, "--budget", 10, "splits.scheme=file", "splits.file=splits.csv")
    after = [dict(row) for row in ResultTables(out).read(HALVING_TABLE) if row["fold"] == 0]
    for row in (*before, *after):
        del row["seconds"]
    assert after == before
    changed = ResultTables(out).read(SELECTION)[0]["estimate"]
    assert np.isfinite(changed)
