"""performance.csv and confusion.csv: how well each model tells the classes apart, with n beside each figure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import Estimate, Scale, bootstrap_interval, without_estimate
from aggregate.statistics.measures import MACRO, Measurement, confusion, measure
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import trained_sample
from aggregate.tables.cells import interval_cells, or_not_estimable

PERFORMANCE = "performance.csv"
PERFORMANCE_COLUMNS = (
    "model", "class", "metric", "estimate", "ci_low", "ci_high", "ci_method", "n", "n_positive",
    "sd_over_repeats",
)  # fmt: skip
CONFUSION = "confusion.csv"
CONFUSION_COLUMNS = ("model", "reference", "predicted", "count", "row_percent", "n_reference")

_SCALES: Mapping[str, Scale] = {"kappa": "linear", "log_loss": "log", "brier": "log"}
"""The scale of the metrics that are no proportion of patients or of pairs of patients."""
_RESTS_ON = {"sensitivity": slice(0, 1), "specificity": slice(1, 2)}
"""The group a metric counts, where it is not all of them."""


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
    undefined = int(np.sum(~np.isfinite(found.per_repeat)))
    if undefined:
        what = "no patient is called so" if metric in ("ppv", "npv") else "it divides by zero"
        return without_estimate(f"{what} in {undefined} of {len(found.per_repeat)} repeats")
    counted = sizes[_RESTS_ON.get(metric, slice(None))]
    scale = _SCALES.get(metric, "logit")
    return bootstrap_interval(
        found.resampled,
        scale=scale,
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
    """Yield the rows of confusion.csv: counts averaged over the repeats, and their share of the reference class."""
    everyone = np.ones((len(predictions.labels), 1))
    for model, probabilities in predictions.probabilities.items():
        counts = confusion(predictions.labels, probabilities, everyone)[..., 0].mean(axis=0)
        for reference, row in zip(predictions.classes, counts, strict=True):
            for predicted, count in zip(predictions.classes, row, strict=True):
                yield {
                    "model": model,
                    "reference": reference,
                    "predicted": predicted,
                    "count": float(count),
                    "row_percent": or_not_estimable(100 * float(count / row.sum()) if row.sum() else None),
                    "n_reference": int(row.sum()),
                }
