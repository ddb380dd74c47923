"""Runs of every other task from a configuration to the tables: what is written, rebuilt, refused, and never seen."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.fitting.cross_validation import Watchers, cross_validate
from aggregate.outcomes.outcome import Outcome
from aggregate.outcomes.tables.basis import OutcomeTable
from aggregate.outcomes.tables.predictions import PREDICTIONS_OF
from aggregate.planning.plan import read_plan
from aggregate.store.fit_cache import FitCache
from aggregate.tables.registry import all_tables
from pipeline.errors import FoldError, LeakError, PhasemilError
from pipeline.tables import read_table
from tests.aggregate.conftest import command, contents
from tests.aggregate.outcomes.conftest import configuration

pytest.importorskip("sksurv")
MODELS = {
    "survival": '[aggregate.model.cox]\nkind = "cox"\nstrengths = [0.01]\n',
    "regression": '[aggregate.model.ridge]\nkind = "ridge"\n',
    "ordinal": '[aggregate.model.odds]\nkind = "proportional_odds"\nstrengths = [0.01]\n'
    '[aggregate.model.classes]\nkind = "mean_pooling"\n',
}
BASELINES = {
    "survival": {"kaplan_meier", "tumour_size"},
    "regression": {"mean_number", "tumour_size"},
    "ordinal": {"grade_shares", "tumour_size"},
}


@pytest.fixture(params=list(MODELS))
def finished(request, outcome_folder):
    path = outcome_folder(configuration(request.param, MODELS[request.param]))
    return request.param, path, command("run", path)


def test_a_run_writes_every_table_of_its_task_and_tables_makes_the_same_again(finished):
    task, path, told = finished
    out = path.parent / "out"
    expected = {t.file for t in all_tables() if isinstance(t, OutcomeTable) and task in t.tasks}
    assert expected | {PREDICTIONS_OF[task].file, "cohort.csv", "splits.csv"} <= {
        p.name for p in (out / "tables").iterdir()
    }
    models = {row["model"] for row in read_table(out / "tables" / "outcome_performance.csv")}
    assert BASELINES[task] | set(MODELS[task].split("model.")[1].split("]")[:1]) <= models
    assert "out-of-fold performance" in told
    before = contents(out)
    command("tables", out)
    assert contents(out) == before
    assert (out / "report.html").is_file()
    assert "is for task" in command_error("explain", out)
    model = next(iter(models - BASELINES[task]))
    assert "is for task" in command_error("freeze", out, "--model", model, "--out", path.parent / "package")
    checked = command("verify", out)
    assert " differs " not in checked
    assert "result -> model" in checked


def command_error(*words) -> str:
    with pytest.raises(PhasemilError) as caught:
        command(*words)
    return str(caught.value)


def test_the_model_beats_the_constant_where_the_bags_tell_the_outcome(finished):
    task, path, _ = finished
    rows = read_table(path.parent / "out" / "tables" / "outcome_performance.csv")
    metric = {"survival": "uno_c", "regression": "r2", "ordinal": "quadratic_kappa"}[task]
    value = {row["model"]: row["estimate"] for row in rows if row["metric"] == metric}
    model = {"survival": "cox", "regression": "ridge", "ordinal": "odds"}[task]
    constant = {"survival": 0.5, "regression": 0.0, "ordinal": 0.0}[task]
    assert float(value[model]) > constant + 0.1


@pytest.mark.parametrize("task", list(MODELS))
def test_outcomes_of_the_test_patients_change_no_prediction(outcome_folder, task, tmp_path):
    """One repeat; the outcomes of those whom fold 0 tests are dealt out anew, and fold 0 says the same."""
    networks = {
        "survival": '[aggregate.model.net]\nkind = "attention_cox"\nepochs = 5\n',
        "regression": '[aggregate.model.net]\nkind = "attention_regression"\nepochs = 5\n',
        "ordinal": '[aggregate.model.net]\nkind = "attention_ordinal"\nepochs = 5\n',
    }
    plan = read_plan(outcome_folder(configuration(task, MODELS[task] + networks[task])))
    study, folds = plan.study, plan.folds[:2]
    values = study.outcome.values.copy()
    tested = folds[0].test
    values[tested] = values[np.random.default_rng(1).permutation(tested)]
    changed = replace(study, outcome=Outcome.of(task, values, study.outcome.section))
    fits = [
        cross_validate(
            s, folds, plan.specs, cache=FitCache(tmp_path / name), seed=1, jobs=1, watcher=Watchers(())
        )
        for name, s in (("as it is", study), ("changed", changed))
    ]
    for name in fits[0].fits:
        np.testing.assert_array_equal(fits[0].fits[name][0].test, fits[1].fits[name][0].test)
        assert fits[0].tasks[name][0].key == fits[1].tasks[name][0].key
        assert fits[0].tasks[name][1].key != fits[1].tasks[name][1].key


def test_patients_without_an_outcome_are_left_out_and_listed(outcome_folder):
    def lose(name, cells):
        if name == "p000":
            cells["months"] = ""

    path = outcome_folder(configuration("survival", MODELS["survival"]), lose)
    plan = read_plan(path)
    assert len(plan.study.patients) == 59
    assert [(e.patient_id, e.reason) for e in plan.study.exclusions] == [
        ("p000", "no outcome: 'months' is empty")
    ]


def test_folds_are_even_in_events_and_times(outcome_folder):
    plan = read_plan(outcome_folder(configuration("survival", MODELS["survival"])))
    events, times = (plan.study.targets[name] for name in ("event", "time"))
    for fold in plan.folds:
        assert abs(events[fold.test].sum() - events.sum() / 2) <= 1.5
        early = times < np.median(times[events])
        assert abs((events & early)[fold.test].sum() - (events & early).sum() / 2) <= 1.5


def test_too_few_events_are_refused_with_the_counts(outcome_folder):
    def rare(name, cells):
        cells["died"] = int(name in ("p003", "p010", "p020"))

    path = outcome_folder(configuration("survival", MODELS["survival"]), rare)
    assert "3 of 60 patients have the event, too few for 2 folds" in command_error("plan", path)


def test_a_horizon_beyond_the_follow_up_is_refused(outcome_folder):
    path = outcome_folder(configuration("survival", MODELS["survival"]))
    told = command_error("plan", path, "outcome.horizons=[12,500]")
    assert "horizon 500" in told
    assert "0 were observed longer" in told


def test_the_outcome_is_no_covariate(outcome_folder):
    path = outcome_folder(configuration("survival", MODELS["survival"], keys='covariates = ["died"]\n'))
    with pytest.raises(LeakError, match="'died' is the outcome itself"):
        command("plan", path)


def test_the_diagnosis_may_be_one(outcome_folder):
    path = outcome_folder(
        configuration("survival", MODELS["survival"], keys='covariates = ["label", "age"]\n')
    )
    assert "covariates" in command("plan", path)


@pytest.mark.parametrize(
    ("task", "model", "told"),
    [
        (
            "survival",
            'kind = "mean_pooling"',
            '\'mean_pooling\' is for task = "classification", and [aggregate] task is "survival"',
        ),
        ("regression", 'kind = "cox"', "'cox' is for task = \"survival\""),
        ("survival", 'kind = "cox"\ntimes = [1.0]', "'times' follows from [aggregate.outcome]"),
    ],
)
def test_a_model_of_another_task_is_refused(outcome_folder, task, model, told):
    path = outcome_folder(configuration(task, f"[aggregate.model.one]\n{model}\n"))
    assert told in command_error("plan", path)


def test_a_classification_takes_no_model_of_an_outcome(experiment_folder):
    path = experiment_folder('[aggregate.model.one]\nkind = "cox"\n')
    assert "'cox' is for task = \"survival\"" in command_error("plan", path)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('task = "survival"\n', "expected `time`, found none"),
        ('task = "ordinal"\n[aggregate.outcome]\ncolumn = "grade"\n', "expected `order`, found none"),
        ('task = "regression"\n[aggregate.outcome]\ncolumn = "a"\ntime = "t"\n', "`time` is not read"),
        ('[aggregate.outcome]\ncolumn = "a"\n', "`column` is not read"),
    ],
)
def test_the_table_of_the_outcome_goes_with_the_task(experiment_folder, keys, told):
    path = experiment_folder(f'[aggregate]\n{keys}[aggregate.model.one]\nkind = "cox"\n')
    assert told in command_error("plan", path)


def test_what_is_for_classes_alone_is_refused(outcome_folder):
    path = outcome_folder(configuration("survival", MODELS["survival"]))
    keys = (
        'statistics.threshold_rule="sensitivity"',
        'explained_model="cox"',
        'statistics.subgroup_covariates=["age"]',
    )
    for key in keys:
        name = key.partition("=")[0].rpartition(".")[2]
        assert f'`{name}` is for task = "classification"' in command_error("plan", path, key)
    assert "--null" in command_error("run", path, "--null", "2")


def test_leaving_a_centre_out_needs_events_elsewhere(outcome_folder):
    def only_in_one(name, cells):
        if int(name[1:]) % 2:
            cells["died"] = 0

    path = outcome_folder(configuration("survival", MODELS["survival"]), only_in_one)
    with pytest.raises(FoldError, match=r"event|without centre"):
        read_plan(path, ['splits.scheme="leave-one-centre-out"'])
