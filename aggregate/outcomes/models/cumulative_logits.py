"""Cumulative logits of ordered grades (McCullagh: Regression models for ordinal data, 1980).

    P(grade <= k | f) = expit(a_k - f),  a_0 < a_1 < ...,  a_k = a_{k-1} + exp(gap_k)

The likelihood is stated here, in PyTorch for networks too; SciPy minimises it with a ridge penalty on the weights, which
statsmodels' OrderedModel, the oracle of the tests, does not offer.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logit
from torch import Tensor
from torch.nn import functional

Floats = NDArray[np.float64]
_SMALLEST = 1e-12


def cuts_of(first: Tensor, gaps: Tensor) -> Tensor:
    """Return rising cut-offs (grades - 1,) of the first one (1,) and the logarithms of the gaps (grades - 2,)."""
    return first + torch.cat([gaps.new_zeros(1), gaps.exp().cumsum(0)])


def starting_cuts(codes: NDArray[np.intp], n_grades: int) -> tuple[Floats, Floats]:
    """Return first cut-off (1,) and logarithms of the gaps (grades - 2,) that give the shares of the grades to a score of 0."""
    shares = (np.bincount(codes, minlength=n_grades) + 0.5) / (len(codes) + 0.5 * n_grades)
    cuts = logit(np.cumsum(shares)[:-1])
    return cuts[:1], np.log(np.diff(cuts))


def grade_losses(scores: Tensor, codes: Tensor, cuts: Tensor) -> Tensor:
    """Return the negative log-likelihood of each grade (n,) of scores (n,), codes int64 (n,) and cut-offs (grades - 1,)."""
    infinite = cuts.new_full((1,), torch.inf)
    ends = torch.cat([-infinite, cuts, infinite])
    upper, lower = ends[codes + 1] - scores, ends[codes] - scores
    # expit(upper) - expit(lower) = expit(upper) expit(-lower) (1 - exp(lower - upper)), which keeps small ones exact.
    inside = torch.log1p(-torch.exp(lower - upper).clamp(max=1 - _SMALLEST))
    return -(functional.logsigmoid(upper) + functional.logsigmoid(-lower) + inside)


def fit_cumulative_logits(
    x: Floats, codes: NDArray[np.intp], penalty: float, n_grades: int
) -> tuple[Floats, Floats]:
    """Return weights (d,) and cut-offs (grades - 1,) that minimise the sum of the losses + penalty / 2 |weights|^2."""
    rows, known = torch.from_numpy(np.asarray(x, np.float64)), torch.from_numpy(codes)
    width = x.shape[1]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        given = torch.from_numpy(parameters).requires_grad_()
        weights, cuts = given[:width], cuts_of(given[width : width + 1], given[width + 1 :])
        total = grade_losses(rows @ weights, known, cuts).sum() + penalty / 2 * weights.square().sum()
        (slope,) = torch.autograd.grad(total, given)
        return float(total.detach()), slope.numpy()

    start = np.concatenate([np.zeros(width), *starting_cuts(codes, n_grades)])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-7}
    ).x
    first, gaps = torch.from_numpy(found[width : width + 1]), torch.from_numpy(found[width + 1 :])
    return found[:width], cuts_of(first, gaps).numpy()


def log_likelihood_of_grades(scores: Floats, codes: NDArray[np.intp], cuts: Floats) -> float:
    """Return the log-likelihood of grades, given scores (n,) and cut-offs (grades - 1,)."""
    tensors = (
        torch.from_numpy(np.asarray(scores, np.float64)),
        torch.from_numpy(codes),
        torch.from_numpy(cuts),
    )
    return -float(grade_losses(*tensors).sum())
