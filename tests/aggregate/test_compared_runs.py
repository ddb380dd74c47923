"""`aggregate.py compare`: two results folders as a user compares them."""

import json
import shutil
from pathlib import Path

import pytest

from aggregate.compared_runs import differing_settings
from aggregate.tables.predictions import PREDICTIONS
from aggregate.tables.results import ResultTables
from aggregate.tables.run_comparisons import RUN_COMPARISONS
from pipeline.errors import ResultsError
from tests.aggregate.conftest import QUICK, command

TWO = f"""{QUICK}[aggregate.model.mean]
kind = "mean_pooling"
[aggregate.model.forest]
kind = "random_forest"
trees = 10
"""


@pytest.fixture(scope="module")
def run_a(tmp_path_factory, write_experiment) -> Path:
    """A finished run of two models."""
    toml = write_experiment(tmp_path_factory.mktemp("a"), TWO)
    command("run", toml)
    return toml.parent / "out"


@pytest.fixture
def run_b(run_a, tmp_path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(run_a, tmp_path / "b", ignore=shutil.ignore_patterns("cache", "bags"))
    return tmp_path / "b"


def with_record(folder: Path, change) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


def with_predictions(folder: Path, change) -> None:
    path = ResultTables(folder).path(PREDICTIONS)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *filter(None, map(change, lines[1:]))]) + "\n", encoding="utf-8")


def test_both_models_are_named_with_why_and_compared_on_the_same_splits(run_a, run_b):
    said = command("compare", run_a, run_b, "--model-b", "forest")
    assert f"{run_a}: model " in said
    assert "the best of 2 by macro AUC" in said
    assert f"{run_b}: model forest, asked for" in said
    assert "60 patients are in both runs" in said
    assert "Both runs used the same splits" in said
    assert "The configurations, the bags and the software are the same" in said


def test_a_declared_model_is_taken_before_the_best(run_a, run_b):
    primary = {"model_a": "forest", "model_b": "mean", "metric": "auc"}
    with_record(run_b, lambda r: r["config"]["aggregate"]["statistics"].update(primary=primary))
    said = command("compare", run_a, run_b)
    assert f"{run_b}: model forest, declared as model_a of the primary comparison" in said
    assert "aggregate.statistics.primary.model_a" in said


def test_the_table_is_written_where_asked_and_by_the_same_command_again(run_a, run_b, tmp_path):
    for _ in range(2):
        said = command("compare", run_a, run_b, "--model-b", "forest", "--output", tmp_path / "c")
    tables = ResultTables(tmp_path / "c")
    path = tables.path(RUN_COMPARISONS)
    assert f"Table: {path}" in said
    rows = tables.read(RUN_COMPARISONS)
    assert {row["test"] for row in rows} == {"paired patient bootstrap", "Nadeau-Bengio corrected t"}


def test_another_table_of_that_name_stays(run_a, run_b, tmp_path):
    tables = ResultTables(tmp_path / "c")
    path = tables.path(RUN_COMPARISONS)
    path.parent.mkdir(parents=True)
    path.write_text("mine\n1\n")
    with pytest.raises(ResultsError, match="another table than this command writes"):
        command("compare", run_a, run_b, "--output", tmp_path / "c")
    assert path.read_text() == "mine\n1\n"


def test_patients_of_one_run_alone_are_told_and_the_splits_are_other_ones(run_a, run_b):
    with_predictions(run_b, lambda line: None if line.startswith(("p000,", "p001,")) else line)
    said = command("compare", run_a, run_b)
    assert "58 patients are in both runs" in said
    assert f"{run_a}: 2 of its 60 patients are in this run alone, such as p000, p001; left out" in said
    assert "The runs used other splits: no corrected t" in said


def test_other_labels_are_refused_in_one_line(run_a, run_b):
    with_predictions(
        run_b, lambda line: line.replace("p000,HCC,", "p000,iCCA,") if line.startswith("p000") else line
    )
    with pytest.raises(ResultsError, match="1 of 60 patients have another label, such as p000: HCC and iCCA"):
        command("compare", run_a, run_b)


def test_other_classes_are_refused_in_one_line(run_a, run_b):
    path = ResultTables(run_b).path(PREDICTIONS)
    path.write_text(path.read_text(encoding="utf-8").replace("iCCA", "CCC"), encoding="utf-8")
    with pytest.raises(ResultsError, match=r"expected the same classes, found .*iCCA.* and .*CCC"):
        command("compare", run_a, run_b)


def test_runs_of_other_patients_are_refused(run_a, run_b):
    with_predictions(run_b, lambda line: f"q{line[1:]}")
    with pytest.raises(ResultsError, match="no patient is in both"):
        command("compare", run_a, run_b)


def test_an_unknown_model_is_refused_with_those_there_are(run_a, run_b):
    with pytest.raises(ResultsError, match="no model 'forrest'; expected one of mean, forest"):
        command("compare", run_a, run_b, "--model-a", "forrest")


def test_a_folder_without_a_run_is_refused(run_a, tmp_path):
    with pytest.raises(ResultsError, match="expected the folder of a finished"):
        command("compare", run_a, tmp_path / "nothing")


def test_what_differs_is_told_key_by_key():
    a = {"config": {"name": "x", "aggregate": {"seed": 0, "model": {"m": {"k": 1}}}}, "weights": "w"}
    b = {
        "config": {"name": "y", "aggregate": {"seed": 1, "model": {}}},
        "weights": "w",
        "software": {"torch": "2.11"},
    }
    assert list(differing_settings(a, b)) == [
        ("aggregate.seed", "0", "1"),
        ("aggregate.model.m.k", "1", "-"),
        ("aggregate.model", "-", "{}"),
        ("software.torch", "-", "2.11"),
    ]
