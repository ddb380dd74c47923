"""The laws of the one cross-validation loop, seen through `aggregate.py run`'s own functions."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.cache import FitCache
from aggregate.crossval import ModelSpec, cross_validate, predictions_of, tuning_of
from aggregate.models.registry import load_model
from aggregate.plan import choose_folds, load_aggregate_config
from aggregate.study import Study, load_study

TOML = """
[aggregate]
jobs = 1
[aggregate.splits]
folds = 4
repeats = 2
[aggregate.model.mean_pooling]
kind = "mean_pooling"
"""
MAJORITY = ModelSpec("majority", "majority", {})
MEAN = ModelSpec("mean", "mean_pooling", {})


class Counter:
    """A watcher that counts."""

    def __init__(self) -> None:
        self.trained: list[str] = []

    def fitted(self, task, fit, *, from_cache):
        if not from_cache:
            self.trained.append(task.spec.name)


@pytest.fixture
def config(experiment_folder):
    return load_aggregate_config(experiment_folder(TOML), ())


@pytest.fixture
def study(config) -> Study:
    return load_study(config)


def run(study, config, specs, folder, *, labels=None, jobs=1):
    counter = Counter()
    study = study if labels is None else replace(study, labels=labels)
    folds = choose_folds(config, study)
    result = cross_validate(study, folds, specs, cache=FitCache(folder), seed=1, jobs=jobs, watcher=counter)
    return predictions_of(study, result), counter.trained


def macro_auc(predictions, model):
    per_repeat = [
        np.mean([roc_auc_score(predictions.labels == c, p[:, c]) for c in range(3)])
        for p in predictions.probabilities[model]
    ]
    return float(np.mean(per_repeat))


def test_every_patient_gets_one_row_of_probabilities_per_repeat(study, config, tmp_path):
    predictions, _ = run(study, config, [MAJORITY], tmp_path / "cache")
    assert predictions.probabilities["majority"].shape == (2, 60, 3)
    assert np.allclose(predictions.probabilities["majority"].sum(axis=2), 1)


def test_a_planted_signal_is_found_and_shuffled_labels_give_half(study, config, tmp_path, rng):
    found, _ = run(study, config, [MEAN], tmp_path / "a")
    null = [
        macro_auc(
            run(study, config, [MEAN], tmp_path / f"n{i}", labels=rng.permutation(study.labels))[0], "mean"
        )
        for i in range(6)
    ]
    assert macro_auc(found, "mean") > 0.75
    # Six permutations of 60 patients: the standard error of their mean is about 0.02.
    assert abs(np.mean(null) - 0.5) < 0.07


def test_a_second_run_trains_nothing(study, config, tmp_path):
    first, _ = run(study, config, [MEAN], tmp_path / "cache")
    second, trained = run(study, config, [MEAN], tmp_path / "cache")
    assert trained == []
    assert np.array_equal(first.probabilities["mean"], second.probabilities["mean"])


def test_adding_a_model_trains_one_model(study, config, tmp_path):
    run(study, config, [MEAN], tmp_path / "cache")
    _, trained = run(study, config, [MEAN, MAJORITY], tmp_path / "cache")
    assert trained == ["majority"] * 8


def test_another_label_trains_again(study, config, tmp_path):
    run(study, config, [MAJORITY], tmp_path / "cache")
    labels = study.labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    _, trained = run(study, config, [MAJORITY], tmp_path / "cache", labels=labels)
    assert trained


def test_test_labels_never_reach_a_fit(study, config, tmp_path):
    fold = choose_folds(config, study)[0]
    flipped = study.labels.copy()
    flipped[fold.test] = (flipped[fold.test] + 1) % 3
    fits = [
        cross_validate(
            replace(study, labels=labels), [fold], [MEAN], cache=FitCache(tmp_path / name), seed=1, jobs=1,
            watcher=Counter(),
        ).fits["mean"][0]
        for name, labels in (("true", study.labels), ("flipped", flipped))
    ]  # fmt: skip
    assert np.array_equal(fits[0].test, fits[1].test)


GRID = ModelSpec("grid", "grid", {"model": "mean_pooling", "grid": {"strengths": [[1e-3], [1.0]]}})
CALIBRATED = ModelSpec("calibrated", "calibrated", {"model": "xgboost", "parameters": {"rounds": 20}})
CALIBRATED_GRID = ModelSpec("both", "calibrated", {"model": "grid", "parameters": GRID.parameters})
ENSEMBLE = ModelSpec("ensemble", "ensemble", {"model": "mean_pooling", "members": 3})
STACK = ModelSpec("stack", "stack", {"models": {"a": {"kind": "mean_pooling"}, "b": {"kind": "bag_size"}}})


def fit_of(study, fold, spec, folder):
    """Return the one fit, and what the saved model learned beside its predictions."""
    cache = FitCache(folder)
    result = cross_validate(study, [fold], [spec], cache=cache, seed=1, jobs=1, watcher=Counter())
    model = load_model(cache.model_folder(result.tasks[spec.name][0].key))
    return result.fits[spec.name][0], {k: v.tolist() for k, v in model.learned_arrays().items()}


def with_other(study, patients, rng):
    """Return the study with other labels and other features for some patients."""
    labels = study.labels.copy()
    labels[patients] = (labels[patients] + 1) % 3
    bags = list(study.bags)
    for i in patients:
        noise = rng.normal(scale=50, size=bags[i].features.shape).astype(np.float32)
        bags[i] = replace(bags[i], features=bags[i].features + noise)
    return replace(study, labels=labels, bags=bags)


@pytest.mark.parametrize(
    "spec", [GRID, CALIBRATED, CALIBRATED_GRID, ENSEMBLE, STACK], ids=lambda spec: spec.name
)
def test_models_with_others_inside_see_train_and_tune_only(study, config, tmp_path, rng, spec):
    fold = choose_folds(config, study)[0]
    fit, learned = fit_of(study, fold, spec, tmp_path / "a")
    other_test, same = fit_of(with_other(study, fold.test, rng), fold, spec, tmp_path / "b")
    assert same == learned
    assert np.array_equal(other_test.tune, fit.tune)
    assert not np.allclose(other_test.test, fit.test)  # other bags are tested


@pytest.mark.parametrize("spec", [CALIBRATED, CALIBRATED_GRID], ids=lambda spec: spec.name)
def test_calibration_listens_to_the_tuning_patients(study, config, tmp_path, rng, spec):
    fold = choose_folds(config, study)[0]
    _, learned = fit_of(study, fold, spec, tmp_path / "a")
    _, other = fit_of(with_other(study, fold.tune, rng), fold, spec, tmp_path / "b")
    assert other["temperature"] != learned["temperature"]


def test_of_tune_patients_an_ensemble_keeps_what_members_say_that_did_not_learn_from_them(
    study, config, tmp_path
):
    """All members together are surer of the labels that most of them learned."""
    fold, cache = choose_folds(config, study)[0], FitCache(tmp_path)
    result = cross_validate(study, [fold], [ENSEMBLE], cache=cache, seed=1, jobs=1, watcher=Counter())
    kept = result.fits["ensemble"][0].tune
    model = load_model(cache.model_folder(result.tasks["ensemble"][0].key))
    together = model.predict_proba([study.bags[i] for i in fold.tune])
    rows, truth = np.arange(len(fold.tune)), study.labels[fold.tune]
    assert kept[rows, truth].mean() < together[rows, truth].mean() - 0.02


def test_the_number_of_processes_changes_nothing(study, config, tmp_path):
    alone, _ = run(study, config, [MAJORITY, MEAN], tmp_path / "one", jobs=1)
    together, _ = run(study, config, [MAJORITY, MEAN], tmp_path / "two", jobs=2)
    assert np.allclose(alone.probabilities["mean"], together.probabilities["mean"])


def test_thresholds_see_the_tune_patients_of_each_fold(study, config, tmp_path):
    folds = choose_folds(config, study)
    result = cross_validate(study, folds, [MEAN], cache=FitCache(tmp_path), seed=1, jobs=1, watcher=Counter())
    tuning = tuning_of(study, result)["mean"]
    assert [(t.repeat, t.fold) for t in tuning] == [(f.repeat, f.fold) for f in folds]
    for fold, tune in zip(folds, tuning, strict=True):
        assert tune.patient_ids == tuple(study.patient_ids[i] for i in fold.tune)
        assert tune.labels.tolist() == study.labels[fold.tune].tolist()
        assert tune.probabilities.shape == (len(fold.tune), 3)
