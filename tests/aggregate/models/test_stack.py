"""What a stack learns from, and what it must not see."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from aggregate.models.registry import build_model, load_model
from pipeline.errors import ConfigError, FoldError

MODELS = {"pooled": {"kind": "mean_pooling"}, "shares": {"kind": "majority"}}


def stack(models=MODELS, **settings):
    return build_model("stack", {"models": models, "inner_folds": 3, **settings}, random_state=0)


def test_the_regression_learns_from_what_models_say_of_patients_they_did_not_learn_from(cohort):
    bags, labels = cohort
    fitted = stack({"pooled": {"kind": "mean_pooling"}}).fit(bags, labels)
    said = np.empty((60, 3))
    for train, held_out in StratifiedKFold(3, shuffle=True, random_state=0).split(labels, labels):
        (inside,) = fitted.new_inside()
        inside.fit([bags[i] for i in train], labels[train])
        said[held_out] = inside.predict_proba([bags[i] for i in held_out])
    again = stack().fit_vectors(np.log(np.maximum(said, 0.01)), labels)
    np.testing.assert_allclose(again.weights_, fitted.weights_)
    np.testing.assert_allclose(again.mean_, fitted.mean_)


def test_the_models_inside_are_fitted_on_all_training_patients(cohort):
    bags, labels = cohort
    fitted = stack().fit(bags, labels)
    alone = fitted.new_inside()[0].fit(bags, labels)
    np.testing.assert_array_equal(fitted.inside_[0].predict_proba(bags), alone.predict_proba(bags))


def test_its_inputs_are_the_logarithms_of_the_probabilities_side_by_side(cohort):
    bags, labels = cohort
    fitted = stack().fit(bags, labels)
    inputs = np.log(np.hstack([model.predict_proba(bags).clip(min=0.01) for model in fitted.inside_]))
    assert inputs.shape == (60, 6)
    np.testing.assert_array_equal(fitted.probabilities_of(inputs), fitted.predict_proba(bags))


def test_a_model_that_knows_only_those_it_learned_from_is_not_trusted(cohort):
    bags, labels = cohort
    rng = np.random.default_rng(0)
    blank = [replace(bag, features=rng.normal(size=(len(bag), 200)).astype(np.float32)) for bag in bags]
    fitted = stack({"memory": {"kind": "mean_pooling", "strengths": [1.0]}}).fit(blank, labels)
    assert fitted.inside_[0].predict_proba(blank).max(axis=1).mean() > 0.9
    assert fitted.predict_proba(blank).max(axis=1).mean() < 0.5


def test_the_regression_never_sees_the_tuning_patients(cohort):
    bags, labels = cohort
    alone = stack().fit(bags[:40], labels[:40])
    tuned = stack().fit(bags[:40], labels[:40], tune=(bags[40:], labels[40:]))
    np.testing.assert_array_equal(alone.predict_proba(bags), tuned.predict_proba(bags))


def test_a_model_that_knows_nothing_changes_next_to_nothing(cohort):
    """Its class shares differ between the inner folds, against those held out: no knowledge, though it looks so."""
    bags, labels = cohort
    with_it, without = stack().fit(bags, labels), stack({"pooled": MODELS["pooled"]}).fit(bags, labels)
    np.testing.assert_allclose(with_it.predict_proba(bags), without.predict_proba(bags), atol=0.03)


def test_of_tuning_patients_an_ensemble_inside_speaks_by_whom_did_not_learn_from_them(cohort):
    bags, labels = cohort
    models = {"several": {"kind": "ensemble", "model": "mean_pooling", "members": 3}}
    fitted = stack(models).fit(bags[:40], labels[:40], tune=(bags[40:], labels[40:]))
    honest = fitted.probabilities_of(np.log(np.maximum(fitted.inside_[0].predict_tune(bags[40:]), 0.01)))
    np.testing.assert_array_equal(fitted.predict_tune(bags[40:]), honest)


def test_a_saved_stack_of_ensembles_predicts_the_same(cohort, tmp_path):
    bags, labels = cohort
    inside = {
        "kind": "ensemble",
        "model": "grid",
        "members": 2,
        "parameters": {"model": "majority", "grid": {}},
    }
    inside["parameters"] = {"model": "mean_pooling", "grid": {"strengths": [[0.01], [1.0]]}}
    fitted = stack({"several": inside}).fit(bags, labels)
    fitted.save(tmp_path)
    np.testing.assert_array_equal(load_model(tmp_path).predict_proba(bags), fitted.predict_proba(bags))


def test_a_stack_with_a_forest_inside_is_not_savable():
    assert stack().is_savable
    assert not stack({"trees": {"kind": "random_forest"}}).is_savable


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "model 'stack': expected at least one model inside, found none"),
        ({"a": {"model": "mlp"}}, "model 'stack': models.a: expected a `kind`, found model"),
        (
            {"a": {"kind": "stack"}},
            "a model of kind 'stack' cannot be inside this one; kinds that can: .*ensemble",
        ),
        (
            {"a": {"kind": "mlp", "hiden": 3}},
            "model 'mlp': unknown parameter 'hiden'; nearest valid name: 'hidden'",
        ),
    ],
)
def test_a_mistake_inside_is_named_before_any_training(cohort, models, message):
    with pytest.raises(ConfigError, match=message):
        stack(models).try_building(cohort[0][0], 3)


def test_a_class_of_one_training_patient_is_refused_by_name(cohort):
    bags, labels = cohort
    few = [*np.flatnonzero(labels != 2)[:20], int(np.flatnonzero(labels == 2)[0])]
    with pytest.raises(FoldError, match="model 'stack': class 2 has one training patient"):
        stack().fit([bags[i] for i in few], labels[few])


def test_an_average_is_the_mean_of_what_its_models_give_alone(cohort, tmp_path):
    bags, labels = cohort
    models = {"a": {"kind": "mean_pooling"}, "b": {"kind": "bag_size"}}
    average = build_model("average", {"models": models}, random_state=0).fit(bags, labels)
    alone = [model.fit(bags, labels).predict_proba(bags) for model in average.new_inside()]
    np.testing.assert_allclose(average.predict_proba(bags), np.mean(alone, axis=0))
    average.save(tmp_path)
    np.testing.assert_array_equal(load_model(tmp_path).predict_proba(bags), average.predict_proba(bags))


def test_an_average_weighs_its_models(cohort):
    bags, labels = cohort
    models = {"pooled": {"kind": "mean_pooling"}, "shares": {"kind": "majority"}}
    plain = build_model("average", {"models": models}, random_state=0).fit(bags, labels)
    weighed = build_model("average", {"models": models, "weights": {"shares": 0.25}}, random_state=0).fit(
        bags, labels
    )
    pooled, shares = (model.predict_proba(bags) for model in plain.inside_)
    np.testing.assert_allclose(weighed.predict_proba(bags), (pooled + 0.25 * shares) / 1.25)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"poled": 1.0}, "no model 'poled'; nearest valid name: 'pooled'"),
        ({"pooled": 0.0}, "expected one above 0"),
    ],
)
def test_weights_of_an_average_that_mean_nothing_are_refused(cohort, weights, told):
    average = build_model(
        "average", {"models": {"pooled": {"kind": "mean_pooling"}}, "weights": weights}, random_state=0
    )
    with pytest.raises(ConfigError, match=told):
        average.fit(*cohort)
