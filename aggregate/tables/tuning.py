"""tune_predictions.csv: what the thresholds were chosen on, so that their table can be rebuilt without training."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.statistics.decisions import TuneFold
from aggregate.tables.predictions import PROBABILITY_DIGITS, PROBABILITY_PREFIX
from pipeline.tables import TableStyle, read_table, write_table

TUNING = "tune_predictions.csv"


def tuning_columns(classes: Sequence[str]) -> list[str]:
    """Return the columns of tune_predictions.csv."""
    return ["model", "repeat", "fold", "patient_id", "label", *(f"{PROBABILITY_PREFIX}{c}" for c in classes)]


def write_tuning(
    folder: Path,
    tuning: Mapping[str, Sequence[TuneFold]],
    classes: Sequence[str],
    *,
    style: TableStyle | None = None,
) -> None:
    """Write tune_predictions.csv: one row per model, repeat, fold and tune patient."""
    style = replace(style or TableStyle(), digits=PROBABILITY_DIGITS)
    write_table(folder / TUNING, tuning_columns(classes), _rows(tuning, classes), style=style)


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


def read_tuning(
    folder: Path, classes: Sequence[str], *, style: TableStyle | None = None
) -> Mapping[str, Sequence[TuneFold]]:
    """Read tune_predictions.csv back; empty where there is none.

    Raises:
        ResultsError: the table does not fit.
    """
    path, style = folder / TUNING, style or TableStyle()
    if not path.exists():
        return {}
    rows_by_fold = defaultdict(list)
    for row in read_table(path, style=style):
        rows_by_fold[row["model"], int(row["repeat"]), int(row["fold"])].append(row)
    tuning = defaultdict(list)
    for (model, repeat, fold), rows in rows_by_fold.items():
        cells = [
            [row[f"{PROBABILITY_PREFIX}{c}"].replace(style.decimal, ".") for c in classes] for row in rows
        ]
        tuning[model].append(
            TuneFold(
                repeat=repeat,
                fold=fold,
                patient_ids=tuple(row["patient_id"] for row in rows),
                labels=np.array([classes.index(row["label"]) for row in rows], dtype=np.intp),
                probabilities=np.array(cells, dtype=float),
            )
        )
    return tuning
