"""Successive halving: which rungs there are, what each sees, what it finds, and what it must not see."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from aggregate.models.halving import Configured, evenly_ordered, rungs
from aggregate.models.registry import build_model, load_model
from pipeline.errors import ConfigError, FoldError
from tests.conftest import draw_bag

BLIND = {"kind": "majority"}
SEEING = {"kind": "mean_pooling", "phases": ["AP"], "strengths": [1.0]}


def halving(models, **settings):
    return build_model("halving", {"models": models, **settings}, random_state=3)


def many(n, **named):
    return {**{f"blind{i}": BLIND for i in range(n)}, **named}


@pytest.fixture
def drawn(rng):
    labels = np.tile(np.arange(3), 30)
    return [draw_bag(f"q{i}", int(label), rng) for i, label in enumerate(labels)], labels


def told(fitted, name):
    (found,) = [one for one in fitted.search_ if one["model"] == name]
    return found


@pytest.mark.parametrize("select_by", ["log_loss", "auc"])
def test_the_model_that_sees_the_signal_is_picked_among_ten(drawn, select_by):
    fitted = halving(many(9, seeing=SEEING), select_by=select_by).fit(*drawn)
    assert fitted.names_of_fitted() == ["seeing"]
    assert told(fitted, "seeing")["scores"][-1] > told(fitted, "blind0")["scores"][0]


def test_each_rung_keeps_a_third_of_the_models_for_three_times_the_patients(drawn):
    bags, labels = drawn
    planned = rungs(labels, 10, factor=3, inner_folds=3)
    assert [(rung.n_patients, rung.n_models) for rung in planned] == [(20, 10), (60, 4)]
    fitted = halving(many(9, seeing=SEEING)).fit(bags, labels)
    reached = [len(one["patients"]) for one in fitted.search_]
    assert (reached.count(1), reached.count(2)) == (6, 4)
    assert told(fitted, "seeing")["patients"] == [20, 60]


class Idle(ClassifierMixin, BaseEstimator):
    """Takes what the search varies, and learns nothing."""

    def __init__(self, configuration="", n_patients=0):
        self.configuration = configuration
        self.n_patients = n_patients

    def fit(self, X, y, tune=None):
        return self


@pytest.mark.parametrize("n_models", [1, 2, 3, 8, 9, 27, 28, 100])
@pytest.mark.parametrize("counts", [(2, 2), (12, 9, 4), (36, 36, 24), (300, 200, 100)])
def test_the_planned_rungs_are_those_of_the_search(n_models, counts):
    """scikit-learn derives its own from the lowest."""
    codes = np.repeat(np.arange(len(counts)), counts)
    search = halving(many(n_models))._search(codes)
    search.set_params(estimator=Idle(), scoring=lambda *_: 0.0)
    search.fit(list(range(len(codes))), codes)
    planned = rungs(codes, n_models, factor=3, inner_folds=3)
    assert [rung.n_patients for rung in planned] == search.n_resources_
    assert [rung.n_models for rung in planned] == search.n_candidates_


def test_every_rung_has_enough_patients_of_each_class():
    codes = np.repeat([0, 1, 2], [36, 36, 24])
    for rung in rungs(codes, 81, factor=3, inner_folds=3):
        chosen = codes[evenly_ordered(codes, seed=1)[: rung.n_patients]]
        assert np.bincount(chosen, minlength=3).min() >= 3


def test_a_rung_holds_the_patients_of_the_lower_ones_in_the_shares_of_all():
    labels = np.repeat(["a", "b"], [60, 20])
    order = evenly_ordered(labels, seed=4)
    assert sorted(order.tolist()) == list(range(80))
    for n in (8, 24, 72):
        assert np.sum(labels[order[:n]] == "b") == n // 4


def test_the_chosen_model_is_that_trained_alone_on_all_patients(drawn):
    bags, labels = drawn
    fitted = halving(many(3, seeing=SEEING)).fit(bags[:60], labels[:60], tune=(bags[60:75], labels[60:75]))
    alone = fitted.new_model("seeing").fit(bags[:60], labels[:60], tune=(bags[60:75], labels[60:75]))
    np.testing.assert_array_equal(fitted.predict_proba(bags[75:]), alone.predict_proba(bags[75:]))
    np.testing.assert_array_equal(fitted.predict_tune(bags[60:75]), alone.predict_tune(bags[60:75]))


def test_the_labels_of_tuning_patients_have_no_part_in_the_choice(drawn):
    bags, labels = drawn
    by_tune = [
        halving(many(2, seeing=SEEING)).fit(bags[:60], labels[:60], tune=(bags[60:], given)).search_
        for given in (labels[60:], labels[60:][::-1].copy())
    ]
    assert [one["scores"] for one in by_tune[0]] == [one["scores"] for one in by_tune[1]]


def test_a_model_without_patients_of_a_class_on_a_rung_knows_the_class_shares(drawn):
    bags, labels = drawn
    model = halving({"venous": {"kind": "mean_pooling", "phases": ["PVP"]}})
    few = [i for i, bag in enumerate(bags) if "PVP" in bag.header.sources or labels[i] != 2][:40]
    without = [i for i in few if labels[i] != 2 or "PVP" not in bags[i].header.sources]
    extra = [i for i, bag in enumerate(bags) if labels[i] == 2 and "PVP" not in bag.header.sources]
    given = without + extra
    assert {int(labels[i]) for i in given} == {0, 1, 2}
    fitted = Configured(model, "venous", len(given)).fit([bags[i] for i in given], labels[given])
    np.testing.assert_allclose(
        fitted.predict_proba(bags[:1])[0], np.bincount(labels[given]) / len(given), atol=1e-12
    )


CLASS_WITHOUT_VENOUS = 2
VENOUS = {"kind": "mean_pooling", "phases": ["PVP"], "strengths": [1.0]}
CONFIDENTLY_WRONG = {"kind": "single_phase", "phase": "DP", "strengths": [1e6]}


@pytest.fixture
def few_venous(drawn):
    """Return patients of whom one of the last class has a venous phase: inner folds without this one cannot train on it."""
    bags, labels = drawn
    has = np.array(["PVP" in bag.header.sources for bag in bags])
    last = labels == CLASS_WITHOUT_VENOUS
    chosen = [*np.flatnonzero(~last), *np.flatnonzero(last & ~has), *np.flatnonzero(last & has)[:1]]
    return [bags[i] for i in chosen], labels[chosen]


@pytest.mark.parametrize("select_by", ["log_loss", "auc"])
def test_a_model_that_an_inner_fold_cannot_train_is_never_preferred_to_one_that_was_trained(
    few_venous, select_by
):
    """Class shares have a better log loss than a confident model that is wrong, and would climb."""
    models = {"venous": VENOUS, "wrong": CONFIDENTLY_WRONG}
    fitted = halving(models, select_by=select_by).fit(*few_venous)
    assert fitted.names_of_fitted() == ["wrong"]
    assert told(fitted, "venous")["scores"] == [None]
    assert isinstance(told(fitted, "wrong")["scores"][0], float)


def test_where_no_model_can_be_trained_on_an_inner_fold_none_is_picked(few_venous):
    with pytest.raises(FoldError, match="none of 2 models could be trained on the inner folds"):
        halving({"a": VENOUS, "b": VENOUS}).fit(*few_venous)
    assert halving({"a": VENOUS}).fit(*few_venous).names_of_fitted() == ["a"]  # there is no choice


def test_a_saved_halving_predicts_the_same_and_knows_its_search(drawn, tmp_path):
    bags, labels = drawn
    fitted = halving(many(2, seeing=SEEING, mean={"kind": "average", "models": {"a": SEEING}})).fit(
        bags, labels
    )
    fitted.save(tmp_path)
    again = load_model(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(bags), fitted.predict_proba(bags))
    assert again.search_ == fitted.search_


def test_only_the_chosen_model_decides_whether_it_can_be_saved(drawn):
    trees = {"kind": "random_forest", "trees": 2, "phases": ["NC"]}
    assert not halving({"trees": trees}).is_savable
    assert halving({"seeing": SEEING, "trees": trees}).fit(*drawn).is_savable


def test_a_halving_inside_a_halving_is_refused(drawn):
    with pytest.raises(ConfigError, match="kind 'halving' cannot be inside this one"):
        halving({"a": {"kind": "halving"}}).try_building(drawn[0], 3)


def test_a_class_of_one_patient_is_an_error(drawn):
    bags, labels = drawn
    few = [*np.flatnonzero(labels != 2)[:20].tolist(), 2]
    with pytest.raises(FoldError, match="model 'halving': a class has one training patient"):
        halving({"a": SEEING, "b": BLIND}).fit([bags[i] for i in few], labels[few])
