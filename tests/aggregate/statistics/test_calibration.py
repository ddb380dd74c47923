import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve

from aggregate.statistics.calibration import (
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    reliability,
)


def honest(seed=0, *, n=4000, repeats=1):
    """Probabilities and outcomes that were drawn with them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(2, 3, size=n)
    return np.tile(probabilities, (repeats, 1)), rng.random(n) < probabilities


def test_reliability_and_error_by_hand():
    """Two bins of two: 0.1, 0.3 with none of the class, 0.6, 0.8 with both; errors 0.2 and 0.3."""
    probabilities = np.array([[0.1, 0.3, 0.6, 0.8]])
    is_positive = np.array([False, False, True, True])
    low, high = reliability(probabilities, is_positive, bins=2)
    assert (low.mean_predicted, low.observed.value, low.n) == pytest.approx((0.2, 0.0, 2))
    assert (high.mean_predicted, high.observed.value, high.n) == pytest.approx((0.7, 1.0, 2))
    error = expected_calibration_error(probabilities, is_positive, np.ones((4, 1)), bins=2)
    assert error == pytest.approx([(2 * 0.2 + 2 * 0.3) / 4])


def test_reliability_equals_scikit_learn():
    probabilities, is_positive = honest(n=200)
    observed, predicted = calibration_curve(is_positive, probabilities[0], n_bins=5, strategy="quantile")
    points = reliability(probabilities, is_positive, bins=5)
    assert [p.observed.value for p in points] == pytest.approx(observed)
    assert [p.mean_predicted for p in points] == pytest.approx(predicted)


def test_a_weight_of_two_is_a_patient_who_stands_there_twice():
    probabilities, is_positive = honest(n=50)
    weights = np.ones((50, 2))
    weights[:, 1] = 2
    error = expected_calibration_error(probabilities, is_positive, weights, bins=4)
    assert error[0] == pytest.approx(error[1])


def test_every_patient_is_in_one_bin_and_equal_predictions_share_it():
    probabilities = np.array([[0.2] * 7 + [0.9] * 3, [0.2] * 6 + [0.9] * 4])
    points = reliability(probabilities, np.arange(10) > 6, bins=5)
    assert [p.n for p in points] == [6.5, 3.5]


def test_honest_probabilities_have_slope_1_and_intercept_0():
    probabilities, is_positive = honest()
    slope, intercept = (f(probabilities, is_positive) for f in (calibration_slope, calibration_intercept))
    assert slope.low < 1 < slope.high
    assert intercept.low < 0 < intercept.high
    error = expected_calibration_error(probabilities, is_positive, np.ones((4000, 1)), bins=5)
    assert error[0] < 0.03


def test_too_extreme_probabilities_have_a_slope_below_1():
    probabilities, is_positive = honest()
    extreme = expit(2 * logit(probabilities))
    assert calibration_slope(extreme, is_positive).value == pytest.approx(0.5, abs=0.06)


def test_too_low_probabilities_have_an_intercept_above_0():
    probabilities, is_positive = honest()
    low = expit(logit(probabilities) - 1)
    assert calibration_intercept(low, is_positive).value == pytest.approx(1, abs=0.1)


def test_one_repeat_gives_the_slope_of_statsmodels():
    probabilities, is_positive = honest(n=120)
    fit = sm.Logit(is_positive.astype(float), sm.add_constant(logit(probabilities[0]))).fit(disp=False)
    assert calibration_slope(probabilities, is_positive).value == pytest.approx(fit.params[1], rel=1e-4)


def test_repeating_the_same_predictions_makes_nobody_surer():
    once, is_positive = honest(n=120)
    five, _ = honest(n=120, repeats=5)
    for function in (calibration_slope, calibration_intercept):
        a, b = function(once, is_positive), function(five, is_positive)
        assert (b.value, b.low, b.high) == pytest.approx((a.value, a.low, a.high), abs=0.01)


def test_a_constant_probability_has_no_slope_but_an_intercept():
    _, is_positive = honest(n=120)
    constant = np.full((2, 120), is_positive.mean())
    assert "same for every patient" in calibration_slope(constant, is_positive).method
    assert calibration_intercept(constant, is_positive).value == pytest.approx(0, abs=1e-6)


def test_perfect_separation_is_named():
    is_positive = np.arange(40) < 20
    found = calibration_slope(np.where(is_positive, 0.9, 0.1)[None] + np.linspace(0, 0.05, 40), is_positive)
    assert found.value is None
    assert found.method.startswith("not estimable: ")


def test_a_fit_that_runs_away_warns_nobody_and_is_told_in_the_table():
    """Under pytest a warning is an error; this fit overflowed on its way."""
    probabilities = np.array([[0.001, 0.999, 0.999, 0.5, 0.999, 0.999, 0.999, 1e-7]])
    is_positive = np.array([1, 0, 0, 1, 0, 0, 1, 0], dtype=bool)
    for fit in (calibration_slope, calibration_intercept):
        estimate = fit(probabilities, is_positive)
        assert estimate.value is not None or "not estimable" in estimate.method
