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
