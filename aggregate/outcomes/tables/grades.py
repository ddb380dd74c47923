"""outcome_confusion.csv: which grades are taken for which."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aggregate.outcomes.tables.basis import OutcomeBasis, OutcomeTable
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import MODEL
from aggregate.tables.table import Column, Kind, Step


def confusion_rows(basis: OutcomeBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the number of patients of each observed and predicted grade, averaged over the repeats."""
    order, observed = basis.outcome.section.order, basis.outcome.values
    for model in basis.predictions.models:
        called = basis.predictions.values[model].argmax(axis=2)
        for i, grade in enumerate(order):
            of_grade = called[:, observed == i]
            for j, other in enumerate(order):
                n, count = of_grade.shape[1], float(np.mean((of_grade == j).sum(axis=1)))
                yield {
                    "model": model,
                    "observed": grade,
                    "predicted": other,
                    "count": count,
                    "row_percent": or_not_estimable(100 * count / n if n else None),
                    "n_observed": n,
                }


OUTCOME_CONFUSION = OutcomeTable(
    "outcome_confusion.csv",
    "model x observed grade x predicted grade",
    (
        MODEL,
        Column("observed", "Observed grade"),
        Column("predicted", "Most probable grade"),
        Column("count", "Number of patients, averaged over the repeats", "patients", Kind.NUMBER),
        Column("row_percent", "Share of the observed grade", "%", Kind.ESTIMATE),
        Column("n_observed", "Patients of the observed grade", "patients", Kind.COUNT),
    ),
    place=780,
    step=Step.OUTCOME,
    rows=confusion_rows,
    tasks=("ordinal",),
)
