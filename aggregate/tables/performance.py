"""performance.csv and confusion.csv: how well each model separates the classes, with n for each value."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import Estimate, bootstrap_interval, without_estimate
from aggregate.statistics.measures import MACRO, METRICS, Measurement, Metric, confusion, measure
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import trained_sample
from aggregate.tables.derived import DerivedTable
from aggregate.tables.rows import interval_cells, or_not_estimable
from aggregate.tables.shared_columns import MODEL, N_POSITIVE, N, interval
from aggregate.tables.table import Column, Kind

PERFORMANCE = DerivedTable(
    "performance.csv",
    "model x class x metric",
    (
        MODEL,
        Column(
            "class",
            (
                "Class against all others; macro is the mean over the classes; `A vs B` compares two classes "
                "among their own patients"
            ),
        ),
        Column("metric", "Name of the metric; each is explained below"),
        *interval(
            "Mean over the repeats of the metric, computed on the out-of-fold predictions of all patients",
            "metric",
        ),
        N,
        N_POSITIVE,
        Column(
            "sd_over_repeats",
            "Standard deviation over the repeats: variation due to the splits, not a confidence interval",
            "metric",
            Kind.ESTIMATE,
        ),
    ),
    place=60,
    words=("metric", {name: metric.meaning for name, metric in METRICS.items()}),
    rows=lambda basis: performance_rows(basis.predictions, basis.weights, basis.settings),
    notes=(
        "Confidence intervals are over patients, with the models fixed: 2,000 resamples (by default) of half the "
        "patients of each class, counted twice, give the standard error, and Student's t gives the width, on the "
        "logit scale for proportions and AUC and on the log scale for losses. Predictions of patients whose models are "
        "trained on each other are correlated: the variance is multiplied by the design effect in ci_method, estimated "
        "from the Brier loss over the repeats. If ci_method names no design effect, as with one repeat, the interval of "
        "a trained model is too short. The coverage of the intervals is measured in reference/coverage.csv and "
        "described in reference/coverage.md. PPV, NPV, accuracy and kappa hold for the class shares of this cohort. A "
        "macro AUC above 0.95 on real data is a reason to look for leakage."
    ),
)
CONFUSION = DerivedTable(
    "confusion.csv",
    "model x reference class x predicted class",
    (
        MODEL,
        Column("reference", "Reference class"),
        Column("predicted", "Most probable class"),
        Column("count", "Number of patients, averaged over the repeats", "patients", Kind.NUMBER),
        Column("row_percent", "Share of the reference class", "%", Kind.ESTIMATE),
        Column(
            "patients",
            "Whole patients: those whose mean probability over the repeats is highest for the predicted class",
            "patients",
            Kind.COUNT,
        ),
        Column("patients_percent", "Of these, share of the reference class", "%", Kind.ESTIMATE),
        Column("n_reference", "Patients of the reference class", "patients", Kind.COUNT),
    ),
    place=80,
    rows=lambda basis: confusion_rows(basis.predictions),
)

_OTHER = Metric("")
"""What holds for an area under a curve of another table."""


def performance_rows(
    predictions: Predictions, weights: NDArray[np.float64], settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of performance.csv; `weights` as from `draw_resamples`."""
    for model, probabilities in predictions.probabilities.items():
        measured = measure(predictions.labels, probabilities, weights, predictions.classes)
        sample = trained_sample(predictions.labels, probabilities, predictions.fold, weights)
        for (name, metric), found in measured.items():
            sizes = group_sizes(predictions.labels, predictions.classes, name)
            estimate = estimate_of(found, metric, sizes, settings.confidence, sample)
            several = len(found.per_repeat) > 1 and estimate.value is not None
            yield {
                "model": model,
                "class": name,
                "metric": metric,
                **interval_cells(estimate),
                "n": sum(sizes),
                "n_positive": None if name == MACRO else sizes[0],
                "sd_over_repeats": or_not_estimable(
                    float(np.std(found.per_repeat, ddof=1)) if several else None
                ),
            }


def estimate_of(
    found: Measurement, metric: str, sizes: Sequence[int], confidence: float, sample: Sample
) -> Estimate:
    """Give a measurement the interval that suits its metric.

    Args:
        found: averaged over the repeats.
        metric: its name.
        sizes: patients in each group that the metric tells apart, the positives first.
        confidence: level of the interval.
        sample: the patients it was measured on.
    """
    if min(sizes) == 0:
        return without_estimate("a class has no patient")
    told = METRICS.get(metric, _OTHER)
    undefined = int(np.sum(~np.isfinite(found.per_repeat)))
    if undefined:
        return without_estimate(f"{told.undefined} in {undefined} of {len(found.per_repeat)} repeats")
    counted = [sizes[i] for i in told.counts] or sizes
    return bootstrap_interval(
        found.resampled,
        scale=told.scale,
        smallest_n=min(counted),
        confidence=confidence,
        sample=sample.of_share(sum(counted) / len(sample.labels)),
    )


def group_sizes(labels: NDArray[np.intp], classes: Sequence[str], name: str) -> tuple[int, ...]:
    """Count the patients in each group that a row of the measures tells apart, the positives first."""
    counts = np.bincount(labels, minlength=len(classes))
    if name == MACRO:
        return tuple(counts.tolist())
    if name in classes:
        positives = int(counts[classes.index(name)])
        return positives, len(labels) - positives
    first, second = name.split(" vs ")
    return int(counts[classes.index(first)]), int(counts[classes.index(second)])


def confusion_rows(predictions: Predictions) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of confusion.csv: counts averaged over the repeats, and of whole patients, with their shares."""
    everyone = np.ones((len(predictions.labels), 1))
    for model, probabilities in predictions.probabilities.items():
        counts = confusion(predictions.labels, probabilities, everyone)[..., 0].mean(axis=0)
        mean = probabilities.mean(axis=0, keepdims=True)
        whole = confusion(predictions.labels, mean, everyone)[0, ..., 0]
        for i, j in np.ndindex(counts.shape):
            n = counts[i].sum()
            yield {
                "model": model,
                "reference": predictions.classes[i],
                "predicted": predictions.classes[j],
                "count": float(counts[i, j]),
                "row_percent": or_not_estimable(100 * float(counts[i, j] / n) if n else None),
                "patients": int(whole[i, j]),
                "patients_percent": or_not_estimable(100 * float(whole[i, j] / n) if n else None),
                "n_reference": int(n),
            }
