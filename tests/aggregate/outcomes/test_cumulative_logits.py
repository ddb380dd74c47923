"""Cumulative logits beside statsmodels' OrderedModel, and by hand."""

import math

import numpy as np
import pytest
import torch
from statsmodels.miscmodels.ordinal_model import OrderedModel

from aggregate.outcomes.models.cumulative_logits import (
    cuts_of,
    fit_cumulative_logits,
    grade_losses,
    log_likelihood_of_grades,
)


@pytest.fixture
def graded(rng):
    x = rng.normal(size=(200, 2))
    latent = x @ np.array([1.5, -0.5]) + rng.logistic(size=200)
    return x, np.digitize(latent, [-1.0, 0.5, 2.0]).astype(np.intp)


def test_without_penalty_it_is_the_fit_of_statsmodels(graded):
    x, codes = graded
    weights, cuts = fit_cumulative_logits(x, codes, 0.0, 4)
    theirs = OrderedModel(codes, x, distr="logit").fit(method="bfgs", disp=False, gtol=1e-8)
    np.testing.assert_allclose(weights, theirs.params[:2], atol=1e-4)
    np.testing.assert_allclose(cuts, theirs.model.transform_threshold_params(theirs.params)[1:-1], atol=1e-4)
    assert log_likelihood_of_grades(x @ weights, codes, cuts) == pytest.approx(theirs.llf, abs=1e-5)


def test_a_penalty_shrinks_the_weights_and_leaves_the_cut_offs(graded):
    x, codes = graded
    weights, cuts = fit_cumulative_logits(x, codes, 1e6, 4)
    assert np.abs(weights).max() < 1e-3
    np.testing.assert_allclose(1 / (1 + np.exp(-cuts)), np.cumsum(np.bincount(codes) / 200)[:-1], atol=1e-3)


def test_by_hand():
    """P(grade 1) = expit(1 - 0.5) - expit(-1 - 0.5)."""
    loss = grade_losses(torch.tensor([0.5]), torch.tensor([1]), torch.tensor([-1.0, 1.0]))
    expected = 1 / (1 + math.exp(-0.5)) - 1 / (1 + math.exp(1.5))
    assert float(loss) == pytest.approx(-math.log(expected), rel=1e-6)


def test_the_slope_is_that_of_finite_differences(rng):
    scores = torch.from_numpy(rng.normal(size=6)).requires_grad_()
    first, gaps = (torch.from_numpy(rng.normal(size=n)).requires_grad_() for n in (1, 2))
    codes = torch.tensor([0, 1, 2, 3, 0, 3])
    assert torch.autograd.gradcheck(
        lambda s, a, b: grade_losses(s, codes, cuts_of(a, b)), (scores, first, gaps)
    )
