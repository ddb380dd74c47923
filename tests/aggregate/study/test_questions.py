"""What a study asks beyond its grid: learning curves, robustness and projections, by the command."""

import pytest

from aggregate.cohort.study_cohort import load_study
from aggregate.planning.plan import load_aggregate_config, read_plan
from aggregate.run_folder.run_record import fits_of_run
from aggregate.store.content_store import ContentStore
from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.learning_curve import LEARNING_CURVE
from aggregate.study.projection import PROJECTION
from aggregate.study.robustness import NOTHING, ONLY, ROBUSTNESS, SLICES, WITHOUT
from aggregate.study.study_comparisons import STUDY_COMPARISONS
from aggregate.tables.cohort import COHORT
from aggregate.tables.predictions import read_predictions
from aggregate.tables.results import ResultTables
from pipeline.errors import ConfigError, PhasemilError, SeveralMistakesError
from tests.aggregate.conftest import QUICK, command, contents

ASKED = """
project = ["mixed"]
[aggregate.study.learning_curve]
models = ["mean"]
shares = [0.3, 0.6, 1.0]
extrapolate_to = [100]
[aggregate.study.robustness]
models = ["mean"]
slices = [0.5]
draws = 2
[aggregate.study.aggregators.mean]
kind = "mean_pooling"
[aggregate.study.aggregators.majority]
kind = "majority"
"""
MIXED = "cHCC-CCA"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_experiment):
    """The results of a study that asks everything, and what `tables` made of them."""
    folder = tmp_path_factory.mktemp("asked")
    toml = write_experiment(folder, f"{QUICK}[aggregate.study]{ASKED}")
    command("study", toml)
    before = contents(folder / "out")
    command("tables", folder / "out")
    return folder / "out", before


@pytest.fixture
def tables(finished):
    return ResultTables(finished[0])


def test_the_tables_that_need_fits_stay_when_the_others_are_made_anew(finished):
    out, before = finished
    for table in (LEARNING_CURVE, ROBUSTNESS, PROJECTION):
        assert contents(out)[table.location] == before[table.location]
        assert table.file in before["tables/columns.csv"].decode()


def test_the_curve_has_every_share_and_then_the_power_law(tables):
    rows = tables.read(LEARNING_CURVE)
    assert [row["share"] for row in rows] == [0.3, 0.6, 1.0, None]
    assert [row["extrapolated"] for row in rows] == [False, False, False, True]
    assert rows[-1]["n_train"] == 100
    assert [row["n_train"] for row in rows[:3]] == [4, 10, 16]
    ranked = {row["model"]: row["estimate"] for row in tables.read(LEADERBOARD)}
    assert rows[2]["estimate"] == ranked["mean"]


def test_the_fits_of_the_curve_count_as_used_by_the_run(finished):
    fits = fits_of_run(finished[0])
    assert set(fits) >= {"mean, share 0.3", "mean, share 0.6", "mean, share 1"}
    assert tuple(fits["mean, share 1"]) == tuple(fits["mean"])
    kept = {entry.key for entry in ContentStore(finished[0] / "cache").entries()}
    assert kept == {key for keys in fits.values() for key in keys}


def test_taking_nothing_away_gives_the_leaderboard(tables):
    rows = tables.read(ROBUSTNESS)
    ranked = {row["model"]: row for row in tables.read(LEADERBOARD)}
    (nothing,) = (row for row in rows if row["change"] == NOTHING)
    assert nothing["estimate"] == ranked["mean"]["estimate"]
    assert (nothing["ci_low"], nothing["ci_high"]) == (ranked["mean"]["ci_low"], ranked["mean"]["ci_high"])
    assert nothing["difference"] == 0


def test_every_phase_is_taken_away_and_left_alone_and_slices_are_fewer(tables):
    rows = tables.read(ROBUSTNESS)
    phases = ["NC", "AP", "PVP", "DP"]
    assert [row["phase"] for row in rows if row["change"] == WITHOUT] == phases
    assert [row["phase"] for row in rows if row["change"] == ONLY] == phases
    assert [row["share"] for row in rows if row["change"] == SLICES] == [0.5]
    by_change = {(row["change"], row["phase"]): row["estimate"] for row in rows}
    # The signal of the drawn bags lies in the arterial phase.
    assert by_change[ONLY, "AP"] > by_change[ONLY, "DP"]
    assert by_change[WITHOUT, "AP"] < by_change[WITHOUT, "DP"]


def test_the_projected_class_is_in_no_prediction_and_in_the_cohort(tables):
    predictions = read_predictions(tables)
    assert predictions.classes == ("HCC", "iCCA")
    assert len(predictions.patient_ids) == 40
    labels = [row["label"] for row in tables.read(COHORT)]
    assert labels.count(MIXED) == 20
    ids = [row["patient_id"] for row in tables.read(COHORT)]
    assert ids == sorted(ids)


def test_every_outer_model_scores_the_projected_patients(tables):
    rows = [row for row in tables.read(PROJECTION) if row["model"] == "mean"]
    projected = [row for row in rows if row["projected"]]
    assert {row["label"] for row in projected} == {MIXED}
    assert (len(projected), len(rows)) == (20, 60)
    assert {row["n_models"] for row in projected} == {2}
    assert {row["n_models"] for row in rows if not row["projected"]} == {1}
    assert all(row["p_HCC"] + row["p_iCCA"] == pytest.approx(1, abs=1e-5) for row in rows)


def test_no_projected_patient_reaches_a_fit(finished, experiment_folder):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    plan = read_plan(toml)
    patients = plan.study.patients
    assert set(patients.labels) == {"HCC", "iCCA"}
    assert {i for fold in plan.folds for i in (*fold.train, *fold.tune, *fold.test)} == set(
        range(len(patients))
    )
    assert plan.study.projected
    assert not set(patients.patient_ids) & set(plan.study.projected.patients.patient_ids)
    assert any("20 patients of cHCC-CCA train and test no model" in line for line in plan.remarks)
    assert any("4 fits more for the learning curves" in line for line in plan.remarks)


def test_the_other_patients_keep_their_order_labels_and_bags(experiment_folder):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    whole = load_study(load_aggregate_config(toml, ["study.project=[]"]))
    aside = load_study(load_aggregate_config(toml, ()))
    known = [i for i, label in enumerate(whole.patients.labels) if label != MIXED]
    assert aside.patients.patient_ids == tuple(whole.patients.patient_ids[i] for i in known)
    assert (aside.patients.codes == whole.patients.codes[known]).all()
    for i in (0, 7, 39):
        mine, other = aside.patients.bags()[i], whole.patients.bags()[known[i]]
        assert mine.header.patient_id == aside.rows[i].patient_id == other.header.patient_id
    assert aside.bag_keys["bags"].keys() == whole.bag_keys["bags"].keys()


def test_every_fit_is_that_of_a_cohort_without_the_projected_patients(experiment_folder):
    """The key of a fit covers all that it depends on: were anything of these patients seen, it would be another."""
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    projected = read_plan(toml)
    table = toml.parent / "cohort.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if MIXED not in line) + "\n")
    without = read_plan(toml, ["study.project=[]", 'cohort.classes=["HCC", "iCCA"]'])
    for name, tasks in projected.tasks.items():
        assert [task.key for task in tasks] == [task.key for task in without.tasks[name]]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('study.project=["iCCB"]', "unknown label 'iCCB'; .*nearest: 'iCCA'"),
        ('study.project=["mixed", "icc"]', "expected at least 2 classes to train on, found HCC"),
        ('study.learning_curve.models=["maen"]', "learning_curve.models names 'maen', .*nearest valid name: 'mean'"),
        ('study.robustness.models=["medn"]', "robustness.models names 'medn', .*nearest valid name: 'mean'"),
        (
            'statistics.primary={model_a="mean", model_b="bag_size"}',
            "primary names 'bag_size', which is no configuration .*baseline is none.*; nearest valid name: 'ma",
        ),
        ('statistics.primary={model_a="mean", model_b="mean"}', "primary compares model 'mean' with itself"),
        ('study.without=[{ phasse = "all" }]', "without, rule 1: no factor 'phasse'; nearest valid name: 'phases'$"),
        ('study.aggregators.majority.kind="random_forest"', "a model of kind 'random_forest' cannot be saved; .*'xgboost'"),
    ],
    ids=["class", "too few classes", "curve", "robustness", "baseline", "itself", "grid", "unsaved"],
)  # fmt: skip
def test_a_mistake_is_told_in_the_plan(experiment_folder, override, message):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    with pytest.raises(PhasemilError, match=message) as refused:
        read_plan(toml, [override])
    assert not isinstance(refused.value, SeveralMistakesError)


@pytest.mark.parametrize("budget", [(), ("study.budget_minutes=10",)], ids=["grid", "budget"])
def test_a_mistyped_configuration_is_told_with_and_without_a_budget(experiment_folder, budget):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    primary = 'statistics.primary={model_a="maen", model_b="majority"}'
    with pytest.raises(ConfigError, match=r"statistics.primary names 'maen', .*nearest valid name: 'mean'$"):
        read_plan(toml, [*budget, primary])


def test_a_budget_takes_the_names_of_the_grid_and_tells_what_is_not_made(experiment_folder):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    asked = ["study.budget_minutes=10", 'statistics.primary={model_a="mean", model_b="majority"}']
    remarks = read_plan(toml, asked).remarks
    aside, lacking = remarks[-2:]
    assert aside.endswith(
        "train and test no model; no model scores them within a budget (aggregate.study.project)"
    )
    assert lacking == (
        "Not made within a budget, where no configuration is trained on every fold: study_comparisons.csv "
        "(aggregate.statistics.primary), learning_curve.csv (aggregate.study.learning_curve), robustness.csv "
        "(aggregate.study.robustness), projection.csv (aggregate.study.project); leave budget_minutes or --budget out for "
        "these"
    )
    assert not any("fits more for the learning curves" in line for line in remarks)


def test_a_study_within_a_budget_makes_none_of_these_tables(experiment_folder):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    command("study", toml, "--budget", 10)
    tables = ResultTables(toml.parent / "out")
    assert tables.holds(HALVING_SUMMARY)
    assert not any(tables.holds(one) for one in (STUDY_COMPARISONS, LEARNING_CURVE, ROBUSTNESS, PROJECTION))


def test_a_budget_saves_no_model_and_so_takes_one_that_cannot_be_saved(experiment_folder):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    read_plan(toml, ["study.budget_minutes=10", 'study.aggregators.majority.kind="random_forest"'])


def test_one_splits_file_serves_with_and_without_the_projected_class(experiment_folder):
    toml = experiment_folder(f"{QUICK}[aggregate.study]{ASKED}")
    whole = read_plan(toml, ["study.project=[]"])
    lines = ["patient_id,repeat,fold,role"]
    for fold in whole.folds:
        for role in ("train", "tune", "test"):
            ids = (whole.study.patients.patient_ids[i] for i in getattr(fold, role))
            lines += [f"{one},{fold.repeat},{fold.fold},{role}" for one in ids]
    path = toml.parent / "splits.csv"
    path.write_text("\n".join(lines) + "\n")
    plan = read_plan(toml, ['splits={scheme="file", file="splits.csv"}'])
    assert sum(len(fold.test) for fold in plan.folds) == 40
