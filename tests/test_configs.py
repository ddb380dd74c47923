"""Every configuration in configs/ is one that both stages accept."""

from pathlib import Path

import pytest

from aggregate.config import AggregateConfig
from aggregate.models.registry import build_model
from aggregate.planning.plan import load_aggregate_config
from aggregate.planning.study_grid import HALVING
from extract.config import ExtractConfig
from pipeline.config import load_config

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.toml"))
EXPERIMENTS = [path for path in CONFIGS if "[cohort]" in path.read_text(encoding="utf-8")]
OF_STAGE_2 = [path for path in EXPERIMENTS if "[aggregate]" in path.read_text(encoding="utf-8")]
STUDIES = [path for path in OF_STAGE_2 if "[aggregate.study]" in path.read_text(encoding="utf-8")]


def test_there_are_configurations():
    assert EXPERIMENTS


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_stage_1_accepts_it(path):
    assert load_config(path, ExtractConfig).name == path.stem


@pytest.mark.parametrize("path", OF_STAGE_2, ids=lambda path: path.name)
def test_stage_2_accepts_it_and_builds_its_models(path):
    config = load_config(path, AggregateConfig)
    for model in config.aggregate.model.values():
        build_model(model.kind, model.parameters, random_state=0)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_a_study_may_be_given_a_budget_without_another_change(path):
    config = load_aggregate_config(path, ["study.budget_minutes=30"])
    assert list(config.aggregate.model) == [HALVING]
