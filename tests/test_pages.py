"""The pages for developers name files that there are, and the list of models names every kind."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregate.commands import application
from aggregate.models.described import described_kinds
from aggregate.models.registry import MODELS
from aggregate.outcomes.models.kinds import OUTCOME_MODELS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
WRITTEN_BY_A_RUN = {"run.json", "run.log", "results.xlsx", "predictions.csv", "leaderboard.csv"}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+(?:/|\.\w+))`", text)) - WRITTEN_BY_A_RUN
    linked = {(ROOT / page).parent / name for name in re.findall(r"\]\(([^)]+)\)", text)}
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert all(path.exists() for path in linked)


@pytest.mark.parametrize("page", PAGES)
def test_the_readme_links_every_page(page):
    assert f"]({page})" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_kind_is_listed_with_its_parameters_and_a_meaning_for_each():
    kinds = {kind.name: kind for kind in described_kinds()}
    models = {**MODELS, **OUTCOME_MODELS}
    assert set(kinds) == set(models)
    for name, kind in kinds.items():
        expected = {field.name for field in fields(models[name])} - {"random_state", *models[name].not_read}
        assert {parameter.name for parameter in kind.parameters} == expected
        assert all(parameter.meaning for parameter in kind.parameters), name
        assert kind.meaning


def test_the_command_prints_defaults_meanings_and_papers():
    lines = CliRunner().invoke(application, ["models"], catch_exceptions=False).output.splitlines()
    start = lines.index("attention_mil: Gated attention-MIL.")
    paper = "Ilse, Tomczak, Welling: Attention-based deep multiple instance learning, 2018"
    assert lines[start + 1] == f"    paper: {paper}"
    assert "    gate = 64: Width of the attention layer." in lines[start:]
    assert "    paper: Guo et al. 2017" in lines
