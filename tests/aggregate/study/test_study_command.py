"""`aggregate.py study`: the grid, its tables, and that it can be stopped, continued and rebuilt."""

import pytest

from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.selection import SELECTION
from aggregate.tables.results import ResultTables
from tests.aggregate.conftest import QUICK, command

GRID = f"""{QUICK}[aggregate.study.phases]
all = []
arterial = ["AP"]
[aggregate.study.aggregators.mean]
kind = "mean_pooling"
[aggregate.study.aggregators.attention]
kind = "attention_mil"
epochs = 2
"""


@pytest.fixture
def toml(experiment_folder):
    return experiment_folder(GRID)


@pytest.fixture
def out(toml):
    return toml.parent / "out"


def test_every_combination_is_ranked(toml, out):
    command("study", toml)
    rows = ResultTables(out).read(LEADERBOARD)
    assert {row["model"] for row in rows} == {
        "mean/all",
        "mean/arterial",
        "attention/all",
        "attention/arterial",
    }
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert [row["estimate"] for row in rows] == sorted((row["estimate"] for row in rows), reverse=True)
    assert {row["factor aggregator"] for row in rows} == {"mean", "attention"}
    assert all(row["fit_s"] > 0 and row["slices_per_s"] > 0 and row["n_parameters"] > 0 for row in rows)
    assert len(ResultTables(out).read(SELECTION)) == 4
