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
ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "results" / "reference").glob("*.md")])
DECISIONS = [page for page in (DOCS / "decisions").glob("*.md") if page.name != "README.md"]


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


def anchors(page):
    """The addresses of a page's headings, as the usual viewers of Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8"))
    targets = [((page.parent / path).resolve() if path else page, anchor) for path, anchor in links]
    assert [str(path) for path, _ in targets if not path.exists()] == []
    assert [anchor for path, anchor in targets if anchor and anchor not in anchors(path)] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_the_four_parts_and_stands_in_the_list(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == [
        "Status",
        "Why",
        "What",
        "Alternatives considered",
    ]
    assert len(text.splitlines()) < 60
    assert f"]({page.name})" in (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
