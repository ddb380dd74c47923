from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.chosen import Joined
from aggregate.models.base import softmax
from aggregate.models.calibrated import best_temperature
from aggregate.models.registry import build_model
from aggregate.models.wrappers import log_loss
from pipeline.errors import ConfigError


def test_the_temperature_of_overconfident_logits_is_what_inflated_them():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20000, 3))
    codes = np.array([rng.choice(3, p=p) for p in softmax(true)])
    assert best_temperature(3 * true, codes) == pytest.approx(3, rel=0.05)


def test_calibration_never_raises_the_tuning_loss(cohort):
    bags, labels = cohort
    tune = (bags[30:], labels[30:])
    settings = {"model": "xgboost", "parameters": {"rounds": 30}}
    model = build_model("calibrated", settings, random_state=0).fit(bags[:30], labels[:30], tune=tune)
    assert log_loss(model, *tune) <= log_loss(model.inner_, *tune) + 1e-6


def test_calibration_without_tuning_patients_changes_nothing(cohort):
    bags, labels = cohort
    model = build_model("calibrated", {"model": "majority"}, random_state=0).fit(bags, labels)
    np.testing.assert_allclose(model.predict_proba(bags), model.inner_.predict_proba(bags), atol=1e-9)


def test_a_grid_keeps_what_is_best_on_the_tuning_patients(cohort):
    bags, labels = cohort
    tune = (bags[40:], labels[40:])
    settings = {"model": "single_phase", "grid": {"phase": ["NC", "AP", "DP"]}}
    model = build_model("grid", settings, random_state=0).fit(bags[:40], labels[:40], tune=tune)
    assert model.best_parameters_ == {"phase": "AP"}
    assert build_model("grid", settings, random_state=0).fit(bags, labels).best_parameters_ == {"phase": "AP"}


def test_a_wrong_name_inside_a_grid_is_named(cohort):
    model = build_model("grid", {"model": "mlp", "grid": {"hiden": [1]}}, random_state=0)
    with pytest.raises(
        ConfigError, match="model 'mlp': unknown parameter 'hiden'; nearest valid name: 'hidden'"
    ):
        model.fit(*cohort)


def test_an_empty_grid_is_an_error(cohort):
    with pytest.raises(ConfigError, match="expected at least one value for each parameter"):
        build_model("grid", {"model": "mlp"}, random_state=0).fit(*cohort)


@pytest.fixture(scope="module")
def calibrated(cohort):
    """A calibrated model of boosted trees that early stopping left too timid, with its tuning patients."""
    bags, labels = cohort
    settings = {"model": "xgboost", "parameters": {"rounds": 60, "patience": 60, "learning_rate": 0.5}}
    model = build_model("calibrated", settings, random_state=0)
    return model.fit(bags[:30], labels[:30], tune=(bags[30:], labels[30:])), (bags[30:], labels[30:])


def test_calibration_never_changes_the_order_of_the_classes_within_a_patient(calibrated, cohort):
    model, _ = calibrated
    before, after = model.inner_.predict_proba(cohort[0]), model.predict_proba(cohort[0])
    assert model.temperature_ != pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(before.argsort(axis=1), after.argsort(axis=1))


def test_calibration_lowers_the_tuning_loss_of_a_timid_model(calibrated):
    model, tune = calibrated
    assert model.temperature_ < 1
    assert log_loss(model, *tune) < log_loss(model.inner_, *tune) - 1e-3


def test_the_temperature_by_hand():
    """One logit of 2 that is right in three patients of four: softmax(2 / T) = 3 / 4 at T = 2 / log 3."""
    logits = np.array([[2.0, 0.0]] * 4)
    assert best_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2 / np.log(3), rel=1e-3)


@pytest.fixture(scope="module")
def ensemble(cohort):
    """Three small networks on thirty patients and twelve tuning ones."""
    bags, labels = cohort
    settings = {"model": "phase_concat", "members": 3, "parameters": {"epochs": 2, "learning_rate": 1e-2}}
    model = build_model("ensemble", settings, random_state=0)
    return model.fit(bags[:30], labels[:30], tune=(bags[30:42], labels[30:42]))


def test_an_ensemble_says_the_mean_of_what_its_members_say(ensemble, cohort):
    bags = cohort[0][42:]
    for ask in ("predict_proba", "attention", "instance_evidence"):
        together = getattr(ensemble, ask)(bags)
        apart = [getattr(member, ask)(bags) for member in ensemble.members_]
        for i in range(len(bags)):
            np.testing.assert_allclose(together[i], np.mean([said[i] for said in apart], axis=0), atol=1e-12)


def test_every_patient_of_train_and_tune_is_left_out_by_one_member_and_every_class_is_spread(
    ensemble, cohort
):
    bags, labels = cohort
    share = np.array([ensemble.left_out_by_[bag.patient_id] for bag in bags[:42]])
    assert len(ensemble.left_out_by_) == 42
    for label in range(3):
        counts = np.bincount(share[labels[:42] == label], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_of_a_tuning_patient_the_member_speaks_that_did_not_learn_from_him(ensemble, cohort):
    tune = cohort[0][30:42]
    said = ensemble.predict_tune(tune)
    for i, bag in enumerate(tune):
        member = ensemble.members_[ensemble.left_out_by_[bag.patient_id]]
        np.testing.assert_array_equal(said[i], member.predict_proba(tune)[i])


def test_a_member_learns_nothing_from_the_patients_it_leaves_out(cohort):
    """With other labels, those of one share change the early stop of its member at most, here of one epoch."""
    bags, labels = cohort
    settings = {"model": "mean_pooling", "members": 3}
    first = build_model("ensemble", settings, random_state=0).fit(bags, labels)
    shuffled = [
        replace(bag, features=bag.features + 5) if first.left_out_by_[bag.patient_id] == 1 else bag
        for bag in bags
    ]
    again = build_model("ensemble", settings, random_state=0).fit(shuffled, labels)
    same = [
        np.array_equal(a.weights_, b.weights_) for a, b in zip(first.members_, again.members_, strict=True)
    ]
    assert same == [False, True, False]


def test_the_only_patient_of_a_class_is_learned_from_by_every_member(cohort):
    bags, labels = cohort
    few = [*np.flatnonzero(labels != 2)[:20], int(np.flatnonzero(labels == 2)[0])]
    settings = {"model": "majority", "members": 4}
    model = build_model("ensemble", settings, random_state=0).fit([bags[i] for i in few], labels[few])
    assert bags[few[-1]].patient_id not in model.left_out_by_
    assert all(len(member.classes_) == 3 for member in model.members_)


def test_an_ensemble_weighs_slices_where_its_members_do():
    assert build_model("ensemble", {"model": "attention_mil"}, random_state=0).weighs_slices
    assert not build_model("ensemble", {"model": "mean_pooling"}, random_state=0).weighs_slices
    grid = {"model": "grid", "parameters": {"model": "mlp", "grid": {"hidden": [4]}}}
    assert not build_model("ensemble", grid, random_state=0).weighs_slices


def test_calibration_of_an_ensemble_rests_on_the_members_that_left_the_patients_out(cohort):
    bags, labels = cohort
    settings = {"model": "ensemble", "parameters": {"model": "mean_pooling", "members": 3}}
    model = build_model("calibrated", settings, random_state=0)
    model.fit(bags[:40], labels[:40], tune=(bags[40:], labels[40:]))
    honest = np.log(model.inner_.predict_tune(bags[40:]))
    assert model.temperature_ == pytest.approx(best_temperature(honest, labels[40:]))


def test_a_grid_may_choose_on_inner_folds_though_there_are_tuning_patients(cohort):
    """Tuning labels that contradict the training patients mislead the one, not the other."""
    bags, labels = cohort
    settings = {"model": "mean_pooling", "grid": {"strengths": [[1e-6], [1.0]]}}
    tune = (bags[40:], (labels[40:] + 1) % 3)
    misled = build_model("grid", settings, random_state=0).fit(bags[:40], labels[:40], tune=tune)
    settings["chosen_on"] = "inner folds"
    chosen = build_model("grid", settings, random_state=0).fit(bags[:40], labels[:40], tune=tune)
    assert (misled.best_parameters_["strengths"], chosen.best_parameters_["strengths"]) == ([1e-6], [1.0])


def test_joined_bags_are_those_of_the_first_then_of_the_second(cohort):
    bags = cohort[0]
    joined = Joined(bags[:3], bags[10:12])
    assert [bag.patient_id for bag in joined] == ["p000", "p001", "p002", "p010", "p011"]
    assert [bag.patient_id for bag in joined[2:4]] == ["p002", "p010"]
    assert joined[-1].patient_id == "p011"
