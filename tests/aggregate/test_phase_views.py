"""Training anew on some phases."""

from dataclasses import replace

import numpy as np

from aggregate.cache import FitCache
from aggregate.crossval import ModelSpec, cross_validate
from aggregate.experiment import choose_folds
from aggregate.phase_views import PhaseView, retrained_probabilities
from aggregate.run import load_aggregate_config
from aggregate.study import load_study

TOML = '[aggregate.splits]\nfolds = 3\nrepeats = 1\n[aggregate.model.m]\nkind = "majority"\n'


class Quiet:
    def fitted(self, task, fit, *, from_cache):
        pass


def test_a_view_shows_the_named_phases_only(bags_and_labels):
    for bag in PhaseView(bags_and_labels[0], frozenset({"AP", "DP"})):
        assert set(bag.phase.tolist()) <= {1, 3}


def test_a_patient_without_the_phase_gets_the_class_frequencies(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(TOML), ())
    study = load_study(config)
    folds = choose_folds(config, study)
    without = np.array(["NC" not in header.phases_present for header in study.headers])
    assert without.any()

    def fit(seen, narrowed):
        assert not any(without[np.concatenate([f.train, f.tune, f.test])].any() for f in narrowed)
        spec = ModelSpec("m", "majority", {})
        return cross_validate(
            seen, narrowed, [spec], cache=FitCache(tmp_path / "cache"), seed=0, jobs=1, watcher=Quiet()
        )

    found = retrained_probabilities(study, folds, frozenset({"NC"}), np.arange(60), fit)
    assert np.allclose(found.sum(axis=2), 1)


def test_another_view_is_another_fit(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(TOML), ())
    study = load_study(config)
    folds = choose_folds(config, study)
    keys = [
        cross_validate(
            s, folds, [ModelSpec("m", "majority", {})], cache=FitCache(tmp_path / "c"), seed=0, jobs=1, watcher=Quiet()
        ).tasks["m"][0].key
        for s in (study, replace(study, view="AP"))
    ]  # fmt: skip
    assert keys[0] != keys[1]
