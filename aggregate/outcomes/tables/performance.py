"""outcome_performance.csv: how well each model foretells the outcome, with n for each value."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aggregate.outcomes.outcome import EVENT
from aggregate.outcomes.statistics.measured import estimate_of, sample_of
from aggregate.outcomes.tables.basis import ALL_METRICS, OutcomeBasis, OutcomeTable
from aggregate.tables.rows import interval_cells, or_not_estimable
from aggregate.tables.shared_columns import MODEL, N, interval
from aggregate.tables.table import Column, Kind, Step

AT = Column(
    "at",
    "Survival: the horizon, or where the C-index is truncated; a grade: the highest one below the threshold; empty where there is none",
)
N_EVENTS = Column(
    "n_events", "Of these, patients with the event; empty for other outcomes", "patients", Kind.COUNT
)


def performance_rows(basis: OutcomeBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the rows: every model, then what the outcomes were drawn from."""
    n, n_events = len(basis.outcome), n_events_of(basis)
    for model, measured in basis.measured.items():
        sample = sample_of(basis.predictions, measured.losses, basis.weights)
        for (metric, at), found in measured.metrics.items():
            estimate = estimate_of(found, basis.metrics[metric], sample, basis.settings.confidence)
            several = len(found) > 1 and estimate.value is not None
            yield {
                "model": model,
                "metric": metric,
                "at": at,
                **interval_cells(estimate),
                "n": n,
                "n_events": n_events,
                "sd_over_repeats": or_not_estimable(float(np.std(found[:, 0], ddof=1)) if several else None),
            }


def n_events_of(basis: OutcomeBasis) -> int | None:
    """Return how many patients have the event; None where the outcome is none."""
    outcome = basis.outcome
    return int((outcome.codes == outcome.groups.index(EVENT)).sum()) if outcome.task == "survival" else None


OUTCOME_PERFORMANCE = OutcomeTable(
    "outcome_performance.csv",
    "model x metric",
    (
        MODEL,
        Column("metric", "Name of the metric; each is explained below"),
        AT,
        *interval(
            "Mean over the repeats of the metric, computed on the out-of-fold predictions of all patients",
            "metric",
        ),
        N,
        N_EVENTS,
        Column(
            "sd_over_repeats",
            "Standard deviation over the repeats: variation due to the splits, not a confidence interval",
            "metric",
            Kind.ESTIMATE,
        ),
    ),
    place=730,
    step=Step.OUTCOME,
    rows=performance_rows,
    tasks=("survival", "regression", "ordinal"),
    words=("metric", {name: metric.meaning for name, metric in ALL_METRICS.items()}),
    notes=(
        "Intervals are over patients, with the models fixed, as in performance.csv: half of the patients of each group of the outcome "
        "(with and without the event, each grade), counted twice, and Student's t; the variance is multiplied by the design effect in "
        "ci_method, which the integrated Brier loss, the squared error or the Brier loss of the grades tells. Of a synthetic cohort, "
        "the model `drawn_truth` is what the outcomes were drawn from: the ceiling."
    ),
)
