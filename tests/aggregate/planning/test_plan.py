"""`aggregate.py plan`: everything that can be known before any work, all mistakes at once, nothing written."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aggregate.commands import main
from aggregate.planning.plan import load_aggregate_config, make_plan, read_plan
from aggregate.planning.plan_printed import time_line
from pipeline.errors import BagError, ConfigError, FoldError, PhasemilError, SeveralMistakesError
from tests.aggregate.conftest import command, contents

SIX_TYPOS = (
    "splits.fold=3",
    "model.a.kind=atention_mil",
    "model.mean.depth=3",
    'statistics.decision_classes=["HCG"]',
    'covariates=["Age"]',
    "explained_model=means",
)
SIX_LINES = (
    "unknown key 'aggregate.splits.fold'; nearest valid key: 'folds'",
    "unknown model 'atention_mil'; nearest valid name: 'attention_mil'",
    "aggregate.model.mean: model 'mean_pooling': unknown parameter 'depth'",
    "unknown label 'HCG'; expected one of HCC, iCCA, cHCC-CCA",
    "covariate 'Age' is no column of the cohort table; nearest valid name: 'age'",
    "explained_model = 'means' is no model of this configuration; expected one of mean, a; nearest: 'mean'",
)


def problems_of(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(SeveralMistakesError) as refused:
        read_plan(path, overrides)
    return refused.value.problems


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_six_typos_are_told_in_one_message_and_nothing_is_written(toml, monkeypatch, capsys, verb):
    before = contents(toml.parent)
    monkeypatch.setattr(sys, "argv", ["aggregate.py", verb, str(toml), *SIX_TYPOS])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    first, *lines = capsys.readouterr().err.strip().splitlines()
    assert first == "error: 6 mistakes, one per line; correct them and run the same command again"
    assert len(lines) == 6
    for expected in SIX_LINES:
        assert sum(expected in line for line in lines) == 1, expected
    assert contents(toml.parent) == before


def test_one_mistake_keeps_its_type_and_text(toml):
    with pytest.raises(FoldError, match="class HCC has 20 patients, too few for 40 folds; folds = 20 works"):
        read_plan(toml, ["splits.folds=40"])


def test_what_follows_from_a_mistake_is_no_mistake_of_its_own(toml):
    """Without the covariates, whose key is mistyped, there is no baseline of that name to be compared."""
    primary = 'statistics.primary={model_a="mean", model_b="covariates"}'
    with pytest.raises(
        ConfigError, match=r"unknown key 'aggregate.covariats'; nearest valid key: 'covariates'$"
    ):
        read_plan(toml, ['covariats=["age"]', primary, "baselines=true"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('model.mean.phases=["APP"]', "model.mean.phases: unknown phase 'APP'.*; nearest: 'AP'$"),
        (
            'model.x={kind="stack", models={b={kind="single_phase", phase="PVPP"}}}',
            "models.b.phase: unknown phase 'PVPP'.*; nearest: 'PVP'$",
        ),
        (
            'cohort.phase_roles.arterial="APP"',
            "cohort.phase_roles.arterial: unknown phase 'APP'.*; nearest: 'AP'$",
        ),
        ('cohort.phase_aliases={early="APP"}', "'early' leads to 'APP'; expected one of .*; nearest: 'AP'$"),
    ],
    ids=["phases of a model", "phase in a stack", "role", "alias"],
)
def test_a_mistyped_phase_is_one_mistake_and_no_model_without_data_as_well(toml, override, message):
    with pytest.raises(PhasemilError, match=message) as refused:
        read_plan(toml, [override])
    assert not isinstance(refused.value, SeveralMistakesError)


def test_a_mistake_in_the_cohort_tells_the_models_too_and_compares_no_name_with_it(toml):
    told = problems_of(
        toml, 'cohort.clases=["A", "B"]', "model.mean.depth=3", 'statistics.decision_classes=["A"]'
    )
    assert len(told) == 2
    assert "unknown key 'cohort.clases'; nearest valid key: 'classes'" in told[0]
    assert "unknown parameter 'depth'" in told[1]


def test_two_mistakes_in_one_model_are_both_told(toml):
    told = problems_of(toml, 'model.a={kind="attention_mil", hiden=3, epochs=0}')
    assert ["hiden" in told[0], "parameter epochs" in told[1], len(told)] == [True, True, 2]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('{kind="grid", model="attention_mil", grid={hiden=[3]}}', "nearest valid name: 'hidden'"),
        ('{kind="grid", model="mlp", grid={hidden=[8, 0]}}', "parameter hidden"),
        ('{kind="grid", model="mlp"}', "expected at least one value for each parameter"),
        ('{kind="calibrated", model="grid", parameters={model="mlpp"}}', "expected at least one value"),
        ('{kind="calibrated", model="atention_mil"}', "nearest valid name: 'attention_mil'"),
        ('{kind="transmil", hidden=30, heads=4}', "heads"),
    ],
)
def test_a_model_that_could_not_be_built_in_a_fit_is_refused_before(toml, model, message):
    with pytest.raises(ConfigError, match=message):
        read_plan(toml, [f"model.x={model}"])


def test_bags_that_are_not_there_and_a_mistaken_model_are_told_together(toml):
    for path in (toml.parent / "out" / "bags").glob("*.h5"):
        path.unlink()
    told = problems_of(toml, "model.mean.depth=3")
    assert "no bag here; run `extract.py run`" in told[0]
    assert "unknown parameter 'depth'" in told[1]
    with pytest.raises(BagError):
        read_plan(toml)


def test_a_plan_writes_nothing_and_a_run_of_it_nothing_else_than_it_said(toml):
    before = contents(toml.parent)
    said = command("plan", toml)
    assert "toy: 60 patients (HCC 20, iCCA 20, cHCC-CCA 20)" in said
    assert "2 folds in 1 repeat, 30 patients tested in each" in said
    assert "2 fits: 0 in the cache, 2 to be trained" in said
    assert "Time for the fits: unknown, because no earlier run in this folder recorded it" in said
    assert contents(toml.parent) == before
    assert not (toml.parent / "out" / "cache").exists()
    command("run", toml)
    before = contents(toml.parent)
    said = command("plan", toml)
    assert "2 fits: 2 in the cache, 0 to be trained" in said
    assert "Time for the fits: none" in said
    assert contents(toml.parent) == before


def test_the_time_is_that_of_the_fits_an_earlier_run_recorded(toml):
    command("run", toml)
    plan = make_plan(load_aggregate_config(toml, ["seed=1", "model.new.kind=majority"]))
    assert plan.n_open("mean") == 2  # drawn anew
    assert set(plan.seconds) == {"mean"}
    told = time_line(replace(plan, seconds={"mean": 90.0}))
    assert told.startswith(
        "Time for the fits: about 3 min on 1 process; unknown for new (from the seconds that the run in"
    )
    assert told.endswith("out recorded, with 60 patients)")


def test_a_plan_trains_a_fold_of_each_model_when_it_is_asked_for_a_time_and_writes_nothing(toml):
    before = contents(toml.parent)
    said = command("plan", toml, "--time", "model.new.kind=majority")
    assert re.search(
        r"Time for the fits: about \d+ s on 1 process \(from one fold trained now of \d models\)", said
    )
    assert "unknown" not in said
    assert contents(toml.parent) == before


def test_the_time_of_a_model_with_other_parameters_is_not_known(toml):
    command("run", toml)
    assert "unknown, because no earlier run" in command("plan", toml, "model.mean.strengths=[1.0]")


def test_the_time_of_a_fit_from_the_cache_is_remembered_from_the_run_that_trained_it(toml):
    command("run", toml)
    first = make_plan(load_aggregate_config(toml, ())).seconds
    command("run", toml)
    assert make_plan(load_aggregate_config(toml, ())).seconds == first


def test_a_plan_with_a_network_of_the_users_own_leaves_no_bytecode_beside_it(toml):
    (toml.parent / "mine.py").write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n"
        "    def __init__(self, n_features, n_phases, n_classes):\n        super().__init__()\n"
        "        self.layer = nn.Linear(n_features, n_classes)\n\n"
        "    def forward(self, instances):\n"
        "        rows = self.layer(instances.features)\n"
        "        return rows.new_zeros(instances.n_bags, rows.shape[1]).index_add(0, instances.bag, rows)\n"
    )
    before = contents(toml.parent)
    command("plan", toml, 'model.own={kind="module", module="mine.py:Net"}')
    assert contents(toml.parent) == before
