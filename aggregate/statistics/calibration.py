"""Do the probabilities mean what they say: expected calibration error, reliability points, slope and intercept."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from statsmodels.tools.sm_exceptions import ConvergenceWarning, PerfectSeparationWarning

from aggregate.statistics.intervals import Estimate, bootstrap_interval, wilson, without_estimate

_FARTHEST_LOGIT = 13.8
"""Probabilities beyond 1e-6 from 0 and 1 count as that far; their logit would have no bound."""
CLUSTERED = "logistic regression, errors clustered by patient"


@dataclass(frozen=True)
class ReliabilityPoint:
    """One bin of predictions."""

    mean_predicted: float
    observed: Estimate
    """Share of the patients in the bin that are of the class."""
    n: float
    """Patients in the bin, averaged over the repeats."""


def reliability(
    probabilities: NDArray[np.float64], is_positive: NDArray[np.bool_], *, bins: int, confidence: float = 0.95
) -> list[ReliabilityPoint]:
    """Compare prediction and outcome in bins of about equal numbers of predictions, over all repeats.

    Args:
        probabilities: float64 (repeats, n) of one class.
        is_positive: bool (n,).
        bins: at most so many; equal predictions share a bin.
        confidence: of Wilson's interval of the observed share, with the patients of one repeat as trials.
    """
    points = []
    for predicted, positive, predictions in _bin_sums(probabilities, is_positive, bins).sum(axis=2).T:
        share, n = float(positive / predictions), float(predictions / len(probabilities))
        observed = Estimate(share, *wilson(share, n, confidence), "Wilson score")
        points.append(ReliabilityPoint(float(predicted / predictions), observed, n))
    return points


def expected_calibration_error(
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    bins: int,
) -> NDArray[np.float64]:
    """Mean distance of prediction and outcome over the bins of `reliability`, float64 (draws,).

    The bins stay those of the cohort in every resample. With few patients the error is above 0 even for honest
    probabilities, so compare it between models and not with 0.
    """
    predicted, observed, sizes = _bin_sums(probabilities, is_positive, bins) @ weights  # each (bins, draws)
    return np.asarray(np.abs(predicted - observed).sum(axis=0) / sizes.sum(axis=0))


def ece_estimate(draws: NDArray[np.float64], *, smallest_n: int, confidence: float) -> Estimate:
    """Give the expected calibration error its interval."""
    return bootstrap_interval(draws, scale="logit", smallest_n=smallest_n, confidence=confidence)


def calibration_slope(
    probabilities: NDArray[np.float64], is_positive: NDArray[np.bool_], *, confidence: float = 0.95
) -> Estimate:
    """Slope of the outcome on the logit of the prediction: 1 is right, below 1 the predictions are too extreme.

    One logistic regression over all repeats; a patient's repeats are one cluster. Arguments as `reliability`.
    """
    logits, outcome, patient = _long(probabilities, is_positive)
    if np.ptp(logits) < 1e-9:
        return without_estimate("the probability is the same for every patient")
    design = sm.add_constant(logits)
    return _fitted(
        lambda: _clustered(sm.GLM(outcome, design, sm.families.Binomial()), patient), 1, confidence
    )


def calibration_intercept(
    probabilities: NDArray[np.float64], is_positive: NDArray[np.bool_], *, confidence: float = 0.95
) -> Estimate:
    """Calibration in the large, the slope held at 1: above 0 the class is more frequent than predicted.

    Arguments as `reliability`.
    """
    logits, outcome, patient = _long(probabilities, is_positive)
    model = sm.GLM(outcome, np.ones((len(outcome), 1)), sm.families.Binomial(), offset=logits)
    return _fitted(lambda: _clustered(model, patient), 0, confidence)


def _bin_sums(
    probabilities: NDArray[np.float64], is_positive: NDArray[np.bool_], bins: int
) -> NDArray[np.float64]:
    """Sum predictions, outcomes and ones over the repeats: float64 (3, filled bins, n)."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)[1:-1]))
    bin_of = np.searchsorted(edges, probabilities, side="left")  # (repeats, n)
    is_in = np.stack([bin_of == b for b in np.unique(bin_of)])  # (bins, repeats, n)
    outcome = np.broadcast_to(is_positive, probabilities.shape)
    return np.stack(
        [(is_in * values).sum(axis=1) for values in (probabilities, outcome, np.ones_like(outcome))]
    )


def _long(
    probabilities: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    repeats, n = probabilities.shape
    outcome = np.tile(is_positive.astype(float), repeats)
    return np.clip(logits, -_FARTHEST_LOGIT, _FARTHEST_LOGIT).ravel(), outcome, np.tile(np.arange(n), repeats)


def _clustered(model: Any, patient: NDArray[np.intp]) -> Any:  # noqa: ANN401 - statsmodels has no types
    return model.fit(cov_type="cluster", cov_kwds={"groups": patient})


def _fitted(fit: Callable[[], Any], parameter: int, confidence: float) -> Estimate:
    # A fitted probability of 0 or 1 (its logit overflows on the way) leaves a standard error that is not finite, which
    # is looked for below.
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            result = fit()
        except (ConvergenceWarning, PerfectSeparationWarning, np.linalg.LinAlgError):
            return without_estimate("the predictions separate the classes; no slope fits")
    low, high = result.conf_int(alpha=1 - confidence)[parameter]
    if not np.isfinite([low, high]).all():
        return without_estimate("the regression has no standard error")
    return Estimate(float(result.params[parameter]), float(low), float(high), CLUSTERED)
