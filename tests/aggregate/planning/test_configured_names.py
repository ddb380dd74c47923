"""Every name in a configuration of stage 2 is resolved before anything is trained; columns are typed by one rule."""

import json
import re

import pytest

from aggregate.cohort.study_cohort import load_study
from aggregate.cross_validated_run import run_experiment, write_record
from aggregate.planning.configured_names import check_study, used_covariates
from aggregate.planning.plan import load_aggregate_config, make_plan
from pipeline.errors import BagError, CohortError, ConfigError

MODEL = '[aggregate.model.m]\nkind = "majority"\n'
SINGLE = '[aggregate.model.s]\nkind = "single_phase"\nphase = "art"\n'


def test_a_single_phase_may_be_written_in_every_known_way(experiment_folder):
    config = load_aggregate_config(experiment_folder(SINGLE), ())
    assert config.aggregate.model["s"].parameters == {"phase": "AP"}


def test_a_single_phase_inside_a_grid_and_a_calibration_is_resolved(experiment_folder):
    text = (
        '[aggregate.model.g]\nkind = "calibrated"\nmodel = "grid"\n[aggregate.model.g.parameters]\n'
        'model = "single_phase"\ngrid = { phase = ["art", "pv"] }\n'
    )
    config = load_aggregate_config(experiment_folder(text), ())
    assert config.aggregate.model["g"].parameters["parameters"]["grid"] == {"phase": ["AP", "PVP"]}


def test_the_models_inside_a_stack_have_their_phases_and_files_resolved(experiment_folder):
    text = (
        '[aggregate.model.s]\nkind = "stack"\n[aggregate.model.s.models]\n'
        'arterial = { kind = "single_phase", phase = "art" }\n'
        'several = { kind = "ensemble", model = "module", parameters = { module = "mine.py:Net" } }\n'
    )
    toml = experiment_folder(text)
    inside = load_aggregate_config(toml, ()).aggregate.model["s"].parameters["models"]
    assert inside["arterial"] == {"kind": "single_phase", "phase": "AP"}
    assert inside["several"]["parameters"]["module"] == f"{toml.parent / 'mine.py'}:Net"


def test_weights_are_taken_beside_the_configuration_in_a_model_and_inside_another(experiment_folder):
    text = (
        '[aggregate.model.alone]\nkind = "tabicl"\nweights = "w.ckpt"\n[aggregate.model.many]\nkind = "ensemble"\n'
        'model = "tabicl"\nparameters = { weights = "w.ckpt" }\n'
    )
    toml = experiment_folder(text)
    models = load_aggregate_config(toml, ()).aggregate.model
    assert models["alone"].parameters["weights"] == str(toml.parent / "w.ckpt")
    assert models["many"].parameters["parameters"]["weights"] == str(toml.parent / "w.ckpt")


def test_single_phase_without_a_phase_needs_an_arterial_one(experiment_folder):
    text = 'phases = ["NC", "PVP"]\n[aggregate.model.s]\nkind = "single_phase"\n'
    with pytest.raises(
        ConfigError,
        match=r"aggregate.model.s.phase: no phase is arterial \(\[cohort.phase_roles\]\).*of NC, PVP",
    ):
        load_aggregate_config(experiment_folder(text), ())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            'model.m={kind="single_phase", phase="arteral"}',
            "aggregate.model.m.phase: unknown phase 'arteral'",
        ),
        (
            'statistics.decision_classes=["HCG"]',
            "decision_classes: unknown label 'HCG'; expected one of HCC, iCCA",
        ),
        ('statistics.decision_classes=["CHC"]', "decision_classes: label 'CHC' is ambiguous"),
        (
            'statistics.primary={model_a="M1", model_b="mean_pooling"}',
            "aggregate.statistics.primary names model 'M1'; nearest valid name: 'm'",
        ),
        ('statistics.primary={model_a="m", model_b="phase_art"}', "nearest valid name: 'phase_AP'"),
        ('statistics.primary={model_a="m", model_b="m"}', "primary compares model 'm' with itself"),
    ],
)
def test_a_name_nobody_has_is_refused_when_the_configuration_is_read(experiment_folder, override, message):
    with pytest.raises(ConfigError) as refused:
        load_aggregate_config(experiment_folder(MODEL), [override])
    assert message in str(refused.value)
    assert "experiment.toml" in str(refused.value)


def test_a_class_to_be_decided_may_be_written_in_every_known_way(experiment_folder):
    config = load_aggregate_config(experiment_folder(MODEL), ['statistics.decision_classes=["icc"]'])
    assert config.aggregate.statistics.decision_classes == ("iCCA",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            'covariates=["Age"]',
            r"covariate 'Age' is no column of the cohort table; nearest valid name: 'age'",
        ),
        ('statistics.subgroup_covariates=["aeg"]', r"see \[aggregate.statistics\] subgroup_covariates"),
    ],
)
def test_a_covariate_nobody_has_is_refused_before_anything_is_written(
    experiment_folder, tmp_path, override, message
):
    config = load_aggregate_config(experiment_folder(MODEL), [override])
    with pytest.raises(CohortError, match=message):
        make_plan(config)
    assert not (tmp_path / "out" / "tables" / "splits.csv").exists()


def test_a_phase_that_no_bag_knows_is_refused_before_training(experiment_folder):
    config = load_aggregate_config(
        experiment_folder('phases = ["NC", "AP", "PVP", "DP", "XP"]\n' + MODEL),
        ['statistics.primary={model_a="m", model_b="phase_XP"}'],
    )
    with pytest.raises(BagError, match="phase XP of the configuration is in no bag"):
        load_study(config)


def test_a_column_for_subgroups_that_contradicts_itself_is_named(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ['statistics.subgroup_covariates=["age"]'])
    table = tmp_path / "cohort.csv"
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace(",40,", ",41,")
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(CohortError, match=r"patient p000: column 'age' says '40' .*'41'"):
        check_study(config, load_study(config))


def test_translations_and_misfits_are_told_and_stand_in_the_record(experiment_folder, tmp_path):
    config = load_aggregate_config(
        experiment_folder("[aggregate]\nbaselines = false\ncovariates = ['age']\n[aggregate.splits]\nrepeats = 1\n" + MODEL), ()
    )  # fmt: skip
    table = tmp_path / "cohort.csv"
    text = table.read_text().replace(",iCCA,", ",ICC,")
    table.write_text("\n".join(line.replace(",41,", ",>40,") for line in text.splitlines()) + "\n")
    plan = make_plan(config)
    told = plan.remarks
    write_record(run_experiment(plan), tmp_path)
    n_rows = text.count(",ICC,")
    record = json.loads((tmp_path / "run.json").read_text())
    assert told[0] == f"label 'ICC' read as iCCA ({n_rows} rows)"
    assert "'>40' (patient p001), '>40' (patient p038)" in told[1]
    assert record["translations"] == [{"what": "label", "given": "ICC", "meaning": "iCCA", "n_rows": n_rows}]
    assert record["covariates"] == {
        "age": {"kind": "number", "n_missing": 2, "misfits": {"p001": ">40", "p038": ">40"}}
    }


def test_a_covariate_for_models_and_subgroups_is_typed_once(experiment_folder):
    config = load_aggregate_config(
        experiment_folder(MODEL), ['covariates=["age"]', 'statistics.subgroup_covariates=["age"]']
    )
    assert [c.name for c in used_covariates(config.aggregate, load_study(config).rows)] == ["age"]


def test_a_covariate_in_doubt_is_refused_before_training(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(MODEL), ['covariates=["age"]'])
    table = tmp_path / "cohort.csv"
    lines = table.read_text().splitlines()
    doubtful = [lines[0], *(re.sub(r",(\d\d),c", r",<\g<1>.\g<1>1,c", line) for line in lines[1:])]
    table.write_text("\n".join(doubtful) + "\n")
    with pytest.raises(CohortError, match=r"covariate 'age': cells such as .* look like numbers"):
        check_study(config, load_study(config))
