"""The pages in docs/ are run: their files, their configurations, their commands."""

import re
import runpy
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from aggregate.commands import application
from aggregate.models.base import BagEstimator
from aggregate.models.mil import MILEstimator
from extract.encoder_cards import (
    SHIPPED_CARDS,
    CardInput,
    CardOutput,
    CardReference,
    EncoderCard,
    FixedScaling,
    OwnScaling,
    read_encoder_card,
)
from pipeline.tables import read_table
from tests.aggregate.conftest import QUICK
from tests.extract.conftest import Playground, command  # noqa: F401 - a fixture

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
    rows = read_table(tmp_path / "out" / "tables" / "predictions.csv")
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


@pytest.fixture
def encoder_page(tmp_path, monkeypatch):
    """The folder in which the page is run, and its blocks of Python and TOML."""
    monkeypatch.chdir(tmp_path)
    return tmp_path, blocks("encoders.md", "python"), blocks("encoders.md", "toml")


def test_the_encoder_of_the_page_is_verified_and_embeds_a_cohort(encoder_page, command):  # noqa: F811
    folder, (_, export), (card, config) = encoder_page
    (folder / "export_encoder.py").write_text(export)
    runpy.run_path("export_encoder.py")
    (folder / "encoder.toml").write_text(card)
    code, printed = command("encoders", "--verify", "encoder.toml")
    assert code == 2
    (sha256,) = re.findall(r"compare ([0-9a-f]{64}) with", printed)
    (folder / "encoder.toml").write_text(f'sha256 = "{sha256}"\n{card}')
    code, printed = command("encoders", "--verify", "encoder.toml")
    assert code == 0, printed
    assert printed.count("from the reference vector") == 2
    playground = Playground(folder)
    playground.add("p")
    code, printed = command("run", playground.configure(config))
    assert code == 0, printed
    assert playground.bag("p").features.shape == (5, 16)


def test_the_tensors_of_a_pickle_are_written_as_the_card_wants_them(encoder_page):
    folder, (conversion, _), _ = encoder_page
    teacher = {"backbone.norm.weight": torch.ones(3), "dino_head.mlp.weight": torch.ones(2)}
    torch.save({"teacher": teacher}, "model.pth")
    (folder / "convert.py").write_text(conversion)
    runpy.run_path("convert.py")
    assert list(load_file(read_encoder_card(SHIPPED_CARDS / "meddinov3.toml").file.name)) == ["norm.weight"]


@pytest.mark.parametrize(
    "section", [EncoderCard, CardInput, CardOutput, CardReference, FixedScaling, OwnScaling]
)
def test_the_page_names_every_key_of_a_card(section):
    text = (DOCS / "encoders.md").read_text(encoding="utf-8")
    assert [key for key in section.model_fields if not re.search(rf"\b{key}\b", text)] == []
