"""Shares of the training patients: nested, stratified, and the whole fold at 1."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.cohort.study_cohort import load_study
from aggregate.fitting.cross_validation import cross_validate, predictions_of
from aggregate.fitting.smaller_training import curve_points, folds_of_share
from aggregate.planning.fit_tasks import ModelSpec
from aggregate.planning.plan import choose_folds, load_aggregate_config
from aggregate.store.fit_cache import FitCache
from pipeline.errors import FoldError

CODES = np.repeat([0, 1], [40, 20])
FOLD = Fold(0, 1, np.r_[0:24, 40:52], np.r_[24:32, 52:56], np.r_[32:40, 56:60])
TOML = '[aggregate.splits]\nfolds = 2\nrepeats = 1\n[aggregate.model.m]\nkind = "mean_pooling"\n'


class Quiet:
    def fitted(self, task, fit, *, from_cache):
        pass


def of_share(share: float, seed: int = 0) -> Fold:
    (found,) = folds_of_share([FOLD], CODES, share, seed=seed)
    return found


def test_every_share_holds_the_smaller_ones():
    folds = [of_share(share) for share in (0.25, 0.5, 0.75, 1.0)]
    for small, large in pairwise(folds):
        assert set(small.train) < set(large.train)
        assert set(small.tune) < set(large.tune)


def test_each_class_keeps_its_share_in_both_roles_and_all_are_tested():
    half = of_share(0.5)
    assert np.bincount(CODES[half.train]).tolist() == [12, 6]
    assert np.bincount(CODES[half.tune]).tolist() == [4, 2]
    assert half.test.tolist() == FOLD.test.tolist()


def test_the_whole_share_is_the_fold_itself():
    whole = of_share(1.0)
    assert whole.train.tolist() == FOLD.train.tolist()
    assert whole.tune.tolist() == FOLD.tune.tolist()


def test_no_class_is_lost_however_small_the_share():
    assert np.bincount(CODES[of_share(0.01).train]).tolist() == [2, 2]
    assert np.bincount(CODES[of_share(0.01).tune]).tolist() == [1, 1]


def test_another_seed_takes_others_and_no_tune_patients_stay_none():
    assert of_share(0.5).train.tolist() != of_share(0.5, seed=1).train.tolist()
    bare = Fold(0, 0, FOLD.train, np.array([], dtype=np.intp), FOLD.test)
    assert not len(folds_of_share([bare], CODES, 0.5, seed=0)[0].tune)


@pytest.fixture
def small(experiment_folder, tmp_path):
    config = load_aggregate_config(experiment_folder(TOML), ())
    study = load_study(config)
    fit = partial(
        cross_validate,
        specs=[ModelSpec("m", "mean_pooling", {})],
        cache=FitCache(tmp_path / "cache"),
        seed=0,
        jobs=1,
        watcher=Quiet(),
    )
    return study, choose_folds(config, study), fit


def test_the_point_of_all_patients_is_the_ordinary_fit(small):
    study, folds, fit = small
    ordinary = fit(study, folds)
    half, whole = curve_points(study, folds, "m", (1.0, 0.5), fit=fit, seed=0)
    assert whole.keys == tuple(task.key for task in ordinary.tasks["m"])
    assert (whole.probabilities == predictions_of(study, ordinary).probabilities["m"]).all()
    assert half.n_train == pytest.approx(whole.n_train / 2, abs=2)
    assert not set(half.keys) & set(whole.keys)


def test_a_share_that_cannot_be_trained_on_tells_why(small):
    study, folds, _ = small

    def fit(study, folds):
        raise FoldError("too few patients for the folds inside")

    (point,) = curve_points(study, folds, "m", (0.5,), fit=fit, seed=0)
    assert point.probabilities is None
    assert point.problem == "too few patients for the folds inside"
