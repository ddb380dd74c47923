"""The pages in docs/ are run: their files, their configurations, their commands."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aggregate.commands import application
from aggregate.models.base import BagEstimator
from aggregate.models.mil import MILEstimator
from pipeline.tables import read_table
from tests.aggregate.conftest import QUICK

OF_EVERY_MODEL = {field.name for field in fields(BagEstimator)}
DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # torchmil's own
def test_the_aggregator_of_the_page_is_a_model_beside_torchmils(tmp_path, write_experiment):
    page = "own_aggregator.md"
    (file,), tables = blocks(page, "python"), blocks(page, "toml")
    config = write_experiment(tmp_path, QUICK + "".join(tables))
    (tmp_path / "my_models.py").write_text(file)
    ended = CliRunner().invoke(application, ["run", str(config)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    rows = read_table(tmp_path / "out" / "predictions.csv")
    assert {row["model"] for row in rows} == {"side_by_side", "torchmil_abmil"}
    sums = [sum(float(row[name]) for name in row if name.startswith("p_")) for row in rows]
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_the_page_names_the_keys_of_the_training():
    text = (DOCS / "own_aggregator.md").read_text(encoding="utf-8")
    assert all(
        f"`{field.name}`" in text for field in fields(MILEstimator) if field.name not in OF_EVERY_MODEL
    )


def test_the_notebook_page_runs_from_top_to_bottom(tmp_path, write_experiment, monkeypatch):
    write_experiment(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("notebook.md", "python"):
        exec(compile(block, "notebook.md", "exec"), names)
    assert names["probabilities"].shape == (60, 3)
    assert names["search"].best_params_["phases"]
    assert all(abs(weights.sum() - 1) < 1e-5 for weights in names["attention"])
