"""How well predicted numbers agree with the observed ones, for every resample of the patients at once."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.outcomes.statistics.measured import Floats, Key, MeasuredModel, OutcomeMetric

NUMBER_METRICS: Mapping[str, OutcomeMetric] = {
    "r2": OutcomeMetric(
        "R2: share of the variance of the number that the predictions explain, 1 - squared error / variance. The mean has 0; below 0 is "
        "worse than the mean.",
        "linear",
        is_compared=True,
    ),
    "mae": OutcomeMetric(
        "Mean absolute error, in the unit of the number.", "log", is_lower_better=True, is_compared=True
    ),
    "rmse": OutcomeMetric(
        "Root of the mean squared error, in the unit of the number.", "log", is_lower_better=True
    ),
    "spearman": OutcomeMetric(
        "Spearman's rank correlation of predicted and observed, the ranks those of the whole cohort.",
        "linear",
    ),
    "calibration_slope": OutcomeMetric(
        "Slope of the line of the observed on the predicted number. 1 is perfect; below 1 the predictions are too extreme.",
        "linear",
    ),
    "bias": OutcomeMetric("Mean of predicted minus observed (Bland and Altman).", "linear"),
    "limit_low": OutcomeMetric(
        "Lower limit of agreement: the bias less 1.96 standard deviations of the differences.", "linear"
    ),
    "limit_high": OutcomeMetric("Upper limit of agreement.", "linear"),
}
_LIMITS = 1.96


def measure_numbers(predictions: OutcomePredictions, model: str, weights: Floats) -> MeasuredModel:
    """Measure one model; weights (n, draws)."""
    observed = np.asarray(predictions.outcome.values, dtype=np.float64)
    said = predictions.values[model][:, :, 0]
    found = [
        _of_repeat(observed, of_repeat, weights, varies=_varies(of_repeat, folds))
        for of_repeat, folds in zip(said, predictions.fold, strict=True)
    ]
    metrics: dict[Key, Floats] = {
        (name, ""): np.stack([one[name] for one in found]) for name in NUMBER_METRICS
    }
    return MeasuredModel(metrics, (said - observed) ** 2)


def _varies(said: Floats, folds: NDArray[np.intp]) -> bool:
    """Say whether a model tells patients of a fold apart; what a constant says differs from fold to fold by its training patients."""
    return any(np.ptp(said[folds == fold]) > 0 for fold in np.unique(folds))


def _of_repeat(observed: Floats, said: Floats, weights: Floats, *, varies: bool) -> Mapping[str, Floats]:
    error = said - observed
    total = weights.sum(axis=0)
    bias = error @ weights / total
    squared = error**2 @ weights / total
    spread = np.sqrt(np.maximum(squared - bias**2, 0))
    undefined = np.full(weights.shape[1], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "r2": 1 - squared / _covariance(observed, observed, weights),
            "mae": np.abs(error) @ weights / total,
            "rmse": np.sqrt(squared),
            "spearman": _correlation(rankdata(said), rankdata(observed), weights) if varies else undefined,
            "calibration_slope": _covariance(said, observed, weights) / _covariance(said, said, weights)
            if varies
            else undefined,
            "bias": bias,
            "limit_low": bias - _LIMITS * spread,
            "limit_high": bias + _LIMITS * spread,
        }


def _covariance(a: Floats, b: Floats, weights: Floats) -> Floats:
    """Return the weighted covariance of numbers (n,) for each draw (draws,)."""
    total = weights.sum(axis=0)
    return np.asarray((a * b) @ weights / total - (a @ weights) * (b @ weights) / total**2, dtype=np.float64)


def _correlation(a: Floats, b: Floats, weights: Floats) -> Floats:
    return _covariance(a, b, weights) / np.sqrt(_covariance(a, a, weights) * _covariance(b, b, weights))
