import numpy as np
import pytest

from aggregate.models.base import softmax
from aggregate.models.registry import build_model
from aggregate.models.wrappers import best_temperature, log_loss
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
