"""tune_predictions.csv: the predictions used to choose thresholds, so that these can be rebuilt without training."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.statistics.decisions import TuneFold
from aggregate.statistics.printed_probabilities import PROBABILITY_DIGITS
from aggregate.tables.predictions import PROBABILITY_PREFIX
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row
from aggregate.tables.shared_columns import FOLD, LABEL, MODEL, PATIENT_ID, PROBABILITY_OF_CLASS, REPEAT
from aggregate.tables.table import Table

TUNE_PREDICTIONS = Table(
    "tune_predictions.csv",
    "model x fold x tune patient",
    (
        MODEL,
        REPEAT,
        FOLD,
        PATIENT_ID,
        LABEL,
        PROBABILITY_OF_CLASS,
    ),
    place=50,
    digits=PROBABILITY_DIGITS,
    notes=(
        "Predictions of the tune patients of each fold, on which the thresholds are chosen. No evaluation"
        " uses them."
    ),
)


def write_tuning(
    tables: ResultTables, tuning: Mapping[str, Sequence[TuneFold]], classes: Sequence[str]
) -> None:
    """Write tune_predictions.csv: one row per model, repeat, fold and tune patient."""
    tables.write(TUNE_PREDICTIONS, _rows(tuning, classes), {"class": classes})


def _rows(tuning: Mapping[str, Sequence[TuneFold]], classes: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for model, folds in tuning.items():
        for tune in folds:
            for patient_id, label, p in zip(tune.patient_ids, tune.labels, tune.probabilities, strict=True):
                yield {
                    "model": model,
                    "repeat": tune.repeat,
                    "fold": tune.fold,
                    "patient_id": patient_id,
                    "label": classes[label],
                    **{f"{PROBABILITY_PREFIX}{c}": float(value) for c, value in zip(classes, p, strict=True)},
                }


def read_tuning(tables: ResultTables, classes: Sequence[str]) -> Mapping[str, Sequence[TuneFold]]:
    """Read tune_predictions.csv back; empty where there is none.

    Raises:
        ResultsError: the table does not fit.
    """
    if not tables.holds(TUNE_PREDICTIONS):
        return {}
    by_fold: dict[tuple[str, int, int], list[Row]] = defaultdict(list)
    for row in tables.read(TUNE_PREDICTIONS):
        _check(row, classes)
        by_fold[row["model"], row["repeat"], row["fold"]].append(row)
    tuning = defaultdict(list)
    for (model, repeat, fold), rows in by_fold.items():
        probabilities = [[row[f"{PROBABILITY_PREFIX}{name}"] for name in classes] for row in rows]
        tuning[model].append(
            TuneFold(
                repeat=repeat,
                fold=fold,
                patient_ids=tuple(row["patient_id"] for row in rows),
                labels=np.array([classes.index(row["label"]) for row in rows], dtype=np.intp),
                probabilities=np.array(probabilities, dtype=float),
            )
        )
    return tuning


def _check(row: Row, classes: Sequence[str]) -> None:
    """Refuse what cannot be a prediction."""
    for name in ("repeat", "fold", *(f"{PROBABILITY_PREFIX}{name}" for name in classes)):
        row.require(name, TUNE_PREDICTIONS)
    if row["label"] not in classes:
        raise row.fault(f"expected one of {', '.join(classes)} in label, found {row['label']!r}")
