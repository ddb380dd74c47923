"""calibration.csv: agreement of predicted probabilities with observed frequencies."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.calibration import (
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    reliability,
)
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import Estimate, bootstrap_interval, without_estimate
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import trained_sample
from aggregate.tables.derived import DerivedTable
from aggregate.tables.rows import interval_cells
from aggregate.tables.shared_columns import MODEL, ONE_CLASS, interval
from aggregate.tables.table import Column, Kind

_MEASURES = (
    "brier (mean squared error of the probability); ece (expected calibration error: mean distance of predicted and "
    "observed share over the bins); slope (ideal 1; below 1: probabilities too extreme); intercept (ideal 0; above 0: "
    "the class is more frequent than predicted); "
    "reliability (one row per bin)"
)
CALIBRATION = DerivedTable(
    "calibration.csv",
    "model x class x measure, and bin for the reliability points",
    (
        MODEL,
        ONE_CLASS,
        Column("measure", _MEASURES),
        Column("bin", "Bin of about equal numbers of predictions, from 1, in rising order", "", Kind.COUNT),
        Column(
            "mean_predicted",
            "Mean predicted probability of all patients, or of the bin",
            "0 to 1",
            Kind.NUMBER,
        ),
        *interval("The measure, or the observed share of the class in the bin", "measure"),
        Column("n", "Patients; in a bin averaged over the repeats", "patients", Kind.NUMBER),
        Column("n_positive", "Patients of the class in all bins together", "patients", Kind.COUNT),
    ),
    place=90,
    rows=lambda basis: calibration_rows(basis.predictions, basis.weights, basis.settings),
    notes="With few patients the ECE is above 0 even for well calibrated probabilities: compare it between models.",
)


def calibration_rows(
    predictions: Predictions, weights: NDArray[np.float64], settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of calibration.csv; `weights` as from `draw_resamples`."""
    for model, probabilities in predictions.probabilities.items():
        sample = trained_sample(predictions.labels, probabilities, predictions.fold, weights)
        for k, name in enumerate(predictions.classes):
            is_positive = predictions.labels == k
            shared = {"model": model, "class": name, "n_positive": int(is_positive.sum())}
            of_class = probabilities[:, :, k]
            for measure, estimate in _summaries(of_class, is_positive, sample, settings).items():
                yield {
                    **shared,
                    "measure": measure,
                    "bin": None,
                    "mean_predicted": float(of_class.mean()),
                    **interval_cells(estimate),
                    "n": len(is_positive),
                }
            points = reliability(
                of_class, is_positive, bins=settings.calibration_bins, confidence=settings.confidence
            )
            for number, point in enumerate(points, start=1):
                yield {
                    **shared,
                    "measure": "reliability",
                    "bin": number,
                    "mean_predicted": point.mean_predicted,
                    **interval_cells(point.observed),
                    "n": point.n,
                }


def _summaries(
    probabilities: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    sample: Sample,
    settings: StatisticsSection,
) -> Mapping[str, Estimate]:
    smallest, confidence = int(min(is_positive.sum(), (~is_positive).sum())), settings.confidence
    if smallest == 0:
        absent = without_estimate("a class has no patient")
        return {"ece": absent, "slope": absent, "intercept": absent}
    weights = sample.weights
    brier = ((probabilities - is_positive) ** 2).mean(axis=0) @ weights / weights.sum(axis=0)
    error = expected_calibration_error(probabilities, is_positive, weights, bins=settings.calibration_bins)
    return {
        "brier": bootstrap_interval(
            brier, scale="log", smallest_n=smallest, confidence=confidence, sample=sample
        ),
        "ece": bootstrap_interval(
            error, scale="logit", smallest_n=smallest, confidence=confidence, sample=sample
        ),
        "slope": calibration_slope(probabilities, is_positive, confidence=confidence),
        "intercept": calibration_intercept(probabilities, is_positive, confidence=confidence),
    }
