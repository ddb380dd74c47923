"""A metric of a model of an outcome, on the cohort and on every resample of its patients, and its interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.statistics.intervals import Estimate, Scale, bootstrap_interval, without_estimate
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import design_effect

Floats = NDArray[np.float64]
Key = tuple[str, str]
"""(metric, horizon or threshold; "" where there is none)."""


@dataclass(frozen=True)
class OutcomeMetric:
    """What a metric means, and what its interval needs to know."""

    meaning: str
    scale: Scale = "logit"
    is_lower_better: bool = False
    is_compared: bool = False
    """Whether models are compared by it."""


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """One model.

    Attributes:
        metrics: (metric, at) -> float64 (repeats, 1 + draws): on the cohort first, then on each resample.
        losses: float64 (repeats, n), a proper loss of each patient, from which the design effect is told.
    """

    metrics: Mapping[Key, Floats]
    losses: Floats


def estimate_of(found: Floats, metric: OutcomeMetric, sample: Sample, confidence: float) -> Estimate:
    """Give a metric (repeats, 1 + draws), averaged over the repeats, the interval that suits it."""
    undefined = int((~np.isfinite(found[:, 0])).sum())
    if undefined:
        return without_estimate(f"undefined in {undefined} of {len(found)} repeats")
    smallest = int(np.bincount(sample.labels).min())
    return bootstrap_interval(
        found.mean(axis=0), scale=metric.scale, smallest_n=smallest, confidence=confidence, sample=sample
    )


def sample_of(predictions: OutcomePredictions, losses: Floats, weights: Floats) -> Sample:
    """Return the resampled patients with the design effect that losses (repeats, n), or their differences, tell."""
    codes = predictions.outcome.codes
    return Sample(codes, weights, design_effect(losses, codes, predictions.fold))


def pair_ratio(concordant: Floats, comparable: Floats, of_first: Floats, of_second: Floats) -> Floats:
    """Return the weighted share of concordant pairs for every draw (draws,); NaN without a pair.

    Args:
        concordant: (n, n), 1 for a concordant pair, 1/2 for a tie.
        comparable: (n, n), 1 for a pair that counts.
        of_first: (n, draws), weight of a patient as the first of a pair.
        of_second: (n, draws), as the second.
    """
    counted = (of_first * (comparable @ of_second)).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((of_first * (concordant @ of_second)).sum(axis=0) / counted, dtype=np.float64)
