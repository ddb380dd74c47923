"""`aggregate.py` as a user runs it, in this process."""

import json
import shutil
import sys

import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from aggregate.commands import application, main
from pipeline.bags import RANDOM_BANNER
from pipeline.tables import read_columns, read_table

TOML = """
[aggregate]
jobs = 1
covariates = ["age"]
[aggregate.splits]
folds = 3
repeats = 2
[aggregate.statistics]
draws = 200
[aggregate.model.attention]
kind = "attention_mil"
epochs = 3
[aggregate.model.xgboost]
kind = "xgboost"
"""
BASELINES = {"mean_pooling", "majority", "bag_size", "tumour_size", "centre_slice", "covariates"}
SINGLE_PHASES = {"phase_NC", "phase_AP", "phase_PVP", "phase_DP"}


def command(*words: str) -> str:
    return CliRunner().invoke(application, list(words), catch_exceptions=False).output


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_experiment):
    """One finished run, shared: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    said = command("run", str(write_experiment(folder, TOML)), "--null", "1")
    return folder / "out", said


def test_the_baselines_stand_beside_every_model(finished):
    models = {row["model"] for row in read_table(finished[0] / "tables" / "performance.csv")}
    assert models == {"attention", "xgboost"} | BASELINES | SINGLE_PHASES


def test_the_end_says_where_the_results_lie(finished):
    assert f"Results: {finished[0]}" in finished[1]


def test_every_row_of_every_table_says_random_weights(finished):
    # Those two describe; they hold no number that rests on weights.
    tables = [
        p for p in (finished[0] / "tables").glob("*.csv") if p.name not in ("columns.csv", "checklist.csv")
    ]
    assert {"performance.csv", "predictions.csv", "confusion.csv", "splits.csv"} <= {t.name for t in tables}
    for path in tables:
        assert all(row["weights"].startswith(RANDOM_BANNER) for row in read_table(path)), path
    assert RANDOM_BANNER in finished[1]


def test_every_column_of_every_table_is_explained(finished):
    explained = {(row["file"], row["column"]) for row in read_table(finished[0] / "tables" / "columns.csv")}
    found = {
        (path.name, name) for path in (finished[0] / "tables").glob("*.csv") for name in read_columns(path)
    }
    assert found == explained


def test_a_clinician_finds_a_page_a_workbook_and_one_folder_of_tables(finished):
    others = {"run.json", "run.log", "figures", "paper", "bags", "cache"}
    assert {path.name for path in finished[0].iterdir()} - others == {"report.html", "results.xlsx", "tables"}
    assert {path.suffix for path in (finished[0] / "tables").iterdir()} == {".csv"}
    sheets = load_workbook(finished[0] / "results.xlsx").sheetnames
    assert sheets == ["start here", "patients", "performance", "dictionary"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "mil",
            "explained_model = 'mil' is no model of this configuration; expected one of attention, xgboost",
        ),
        (
            "xgboost",
            "aggregate.explained_model = 'xgboost' is of kind xgboost, which has no attention; models",
        ),
    ],
)
def test_a_model_that_cannot_be_explained_is_refused_before_training(
    name, problem, experiment_folder, monkeypatch, capsys
):
    path = experiment_folder(TOML)
    assert problem in complain(monkeypatch, capsys, "run", str(path), f'explained_model="{name}"')
    assert not (path.parent / "out" / "tables").exists()


def test_every_figure_has_its_n(finished):
    rows = read_table(finished[0] / "tables" / "performance.csv")
    assert {row["n"] for row in rows if " vs " not in row["class"]} == {"60"}
    assert {row["n"] for row in rows if " vs " in row["class"]} == {"40"}


def test_the_run_is_recorded(finished):
    record = json.loads((finished[0] / "run.json").read_text())
    assert record["n_patients"] == 60
    assert record["recipes"]["bags"]["weights_sha256"] == "0" * 64
    assert len(record["fits"]["attention"]) == 6


def test_the_permutation_control_has_a_row_per_model_and_permutation(finished):
    rows = read_table(finished[0] / "tables" / "null.csv")
    assert len(rows) == (2 + len(BASELINES | SINGLE_PHASES))


def test_tables_are_rebuilt_to_the_byte_without_training(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    before = {path.name: path.read_bytes() for path in (folder / "tables").glob("*.csv")}
    shutil.rmtree(folder / "cache")
    (folder / "tables" / "performance.csv").unlink()
    command("tables", str(folder))
    assert {path.name: path.read_bytes() for path in (folder / "tables").glob("*.csv")} == before
    assert not (folder / "cache").exists()


def complain(monkeypatch, capsys, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["aggregate.py", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("splits.fold=3", "unknown key 'aggregate.splits.fold'; nearest valid key: 'folds'"),
        (
            "model.attention.kind=atention_mil",
            "unknown model 'atention_mil'; nearest valid name: 'attention_mil'",
        ),
        ("model.attention.hiden=8", "unknown parameter 'hiden'; nearest valid name: 'hidden'"),
        ("splits.folds=30", "class HCC has 20 patients, too few for 30 folds; folds = 20 works"),
        ('covariates=["centre_name"]', "covariate 'centre_name' is no column of the cohort table"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(experiment_folder, monkeypatch, capsys, override, message):
    assert message in complain(monkeypatch, capsys, "run", str(experiment_folder(TOML)), override)


def test_a_folder_without_a_run_is_refused(tmp_path, monkeypatch, capsys):
    assert "expected the folder of a finished" in complain(monkeypatch, capsys, "tables", str(tmp_path))
