"""The partial likelihood beside two libraries, by hand, and its slope beside finite differences."""

import math

import numpy as np
import pytest
import torch
from statsmodels.duration.hazard_regression import PHReg

from aggregate.outcomes.models.partial_likelihood import (
    RiskSets,
    likelihood_of_others,
    log_likelihood_of,
    partial_log_likelihood,
)
from aggregate.outcomes.outcome import survival_values


@pytest.fixture
def tied(rng):
    """Sixty patients whose times are whole months, so that many events are tied, also with censored patients."""
    time = np.ceil(rng.exponential(10, 60))
    return survival_values(rng.random(60) < 0.6, time), rng.normal(size=(60, 3))


def test_by_hand_with_two_tied_events():
    """Events of patients 0 and 1 at 2 months, 3 censored at 2, 2 lives on: log(1 / 10) + log(2 / (10 - 3 / 2))."""
    values = survival_values([True, True, False, False], [2, 2, 5, 2])
    scores = np.log([1.0, 2.0, 3.0, 4.0])
    assert log_likelihood_of(scores, values) == pytest.approx(math.log(1 / 10) + math.log(2 / 8.5))


def test_it_is_that_of_statsmodels(tied):
    values, x = tied
    weights = np.array([0.7, -1.2, 0.3])
    model = PHReg(values["time"], x, status=values["event"], ties="efron")
    assert log_likelihood_of(x @ weights, values) == pytest.approx(model.loglike(weights), abs=1e-9)


def test_its_slope_is_that_of_statsmodels_and_of_finite_differences(tied):
    values, x = tied
    weights = torch.tensor([0.7, -1.2, 0.3], dtype=torch.float64, requires_grad=True)
    sets, rows = RiskSets.of(values), torch.from_numpy(x)
    (slope,) = torch.autograd.grad(partial_log_likelihood(rows @ weights, sets), weights)
    model = PHReg(values["time"], x, status=values["event"], ties="efron")
    np.testing.assert_allclose(slope, model.score(weights.detach().numpy()), atol=1e-9)
    assert torch.autograd.gradcheck(lambda w: partial_log_likelihood(rows @ w, sets), weights)


def test_it_is_the_optimum_that_scikit_survival_finds(tied):
    linear = pytest.importorskip("sksurv.linear_model")
    values, x = tied
    found = linear.CoxPHSurvivalAnalysis(alpha=1e-12, ties="efron", tol=1e-12).fit(x, values).coef_
    weights = torch.from_numpy(found).requires_grad_()
    (slope,) = torch.autograd.grad(
        partial_log_likelihood(torch.from_numpy(x) @ weights, RiskSets.of(values)), weights
    )
    assert float(slope.abs().max()) < 1e-5


def test_a_number_added_to_all_scores_changes_nothing(tied):
    values, x = tied
    scores = x[:, 0]
    assert log_likelihood_of(scores + 300, values) == pytest.approx(log_likelihood_of(scores, values))


def test_in_single_precision_it_is_the_same_to_six_digits(tied):
    values, x = tied
    scores = torch.from_numpy(x[:, 0])
    exact, single = (float(partial_log_likelihood(s, RiskSets.of(values))) for s in (scores, scores.float()))
    assert single == pytest.approx(exact, rel=1e-6)


def test_what_others_add_is_the_whole_less_the_trained(tied):
    values, x = tied
    is_other = np.arange(60) % 5 == 0
    scores = x[:, 0]
    expected = log_likelihood_of(scores, values) - log_likelihood_of(scores[~is_other], values[~is_other])
    assert likelihood_of_others(scores, values, is_other) == pytest.approx(expected)
