"""`aggregate.py study`: the grid, its tables, and that it can be stopped, continued and rebuilt."""

import pytest

from aggregate.planning.plan import read_plan
from aggregate.study.factor_effects import FACTOR_EFFECTS
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.selection import SELECTION
from aggregate.study.study_comparisons import STUDY_COMPARISONS
from aggregate.tables.results import ResultTables
from pipeline.errors import FoldError
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


def with_own_splits(toml, role_of):
    """Write the splits of the study as the user's own file, with other roles; return the overrides that read it."""
    plan = read_plan(toml)
    patients, lines = plan.study.patients, ["patient_id,repeat,fold,role"]
    for fold in plan.folds:
        for role in ("train", "tune", "test"):
            lines += [
                f"{patients.patient_ids[i]},{fold.repeat},{fold.fold},{role_of(fold, role, patients.labels[i])}"
                for i in getattr(fold, role)
            ]
    (toml.parent / "splits.csv").write_text("\n".join(lines) + "\n")
    return ['splits={scheme="file", file="splits.csv"}']


def test_a_fold_without_tune_patients_is_refused_in_the_plan_of_a_study(toml):
    splits = with_own_splits(toml, lambda _, role, __: "train" if role == "tune" else role)
    for select_by in ("log_loss", "auc"):
        with pytest.raises(FoldError, match="repeat 0, fold 0 has no tune patients, on whom a study picks"):
            read_plan(toml, [*splits, f"study.select_by={select_by}"])
    read_plan(toml, [*splits, "study.budget_minutes=10"])  # picks on inner folds


def test_a_class_without_tune_patients_is_refused_where_the_auc_picks(toml):
    splits = with_own_splits(
        toml, lambda fold, role, label: "train" if (fold.fold, role, label) == (1, "tune", "iCCA") else role
    )
    with pytest.raises(
        FoldError, match=r'repeat 0, fold 1 has no tune patient of class iCCA, .*select_by = "log_loss"'
    ):
        read_plan(toml, [*splits, "study.select_by=auc"])
    read_plan(toml, [*splits, "study.select_by=log_loss"])


BESIDE = """[aggregate.study.beside.alone]
kind = "mean_pooling"
phases = ["DP"]
"""


def test_a_model_beside_the_grid_is_ranked_and_compared_and_no_level_of_a_factor(experiment_folder, tmp_path):
    toml, tables = experiment_folder(GRID + BESIDE), ResultTables(tmp_path / "out")
    command("study", toml)
    board = {row["model"]: row for row in tables.read(LEADERBOARD)}
    assert board["alone"]["rank"] in range(1, 6)
    assert board["alone"]["factor aggregator"] == "beside"
    compared = tables.read(STUDY_COMPARISONS)
    assert {row["model_a"] for row in compared if row["family"] == "plainest"} == set(board) - {"mean/all"}
    assert {row["level_a"] for row in tables.read(FACTOR_EFFECTS)} == {"attention", "arterial"}
    before = tables.path(FACTOR_EFFECTS).read_bytes()
    command("tables", tmp_path / "out")
    assert tables.path(FACTOR_EFFECTS).read_bytes() == before
