"""predictions.csv: the product of stage 2, written and read back to the last digit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.predictions import Predictions
from aggregate.statistics.measures import predicted_labels
from pipeline.errors import ResultsError
from pipeline.tables import TableStyle, read_table, write_table

FILE = "predictions.csv"
PROBABILITY_PREFIX = "p_"
PROBABILITY_DIGITS = 10
"""Enough that the ranks of confident models survive; every other table is made of the rounded values."""


def write_predictions(folder: Path, predictions: Predictions, *, style: TableStyle | None = None) -> None:
    """Write predictions.csv: one row per patient, repeat and model, in that order."""
    style = replace(style or TableStyle(), digits=PROBABILITY_DIGITS)
    write_table(folder / FILE, prediction_columns(predictions.classes), _rows(predictions), style=style)


def prediction_columns(classes: Sequence[str]) -> list[str]:
    """Return the columns of predictions.csv."""
    probabilities = [f"{PROBABILITY_PREFIX}{name}" for name in classes]
    return [
        "patient_id",
        "label",
        "model",
        "repeat",
        "fold",
        "predicted",
        *probabilities,
        "n_slices",
        "phases",
    ]


def _rows(predictions: Predictions) -> Iterator[Mapping[str, Any]]:
    classes = predictions.classes
    called = {model: predicted_labels(p) for model, p in predictions.probabilities.items()}
    for i, patient_id in enumerate(predictions.patient_ids):
        for repeat in range(predictions.n_repeats):
            for model, probabilities in predictions.probabilities.items():
                yield {
                    "patient_id": patient_id,
                    "label": classes[predictions.labels[i]],
                    "model": model,
                    "repeat": repeat,
                    "fold": int(predictions.fold[repeat, i]),
                    "predicted": classes[called[model][repeat, i]],
                    **{
                        f"{PROBABILITY_PREFIX}{name}": float(p)
                        for name, p in zip(classes, probabilities[repeat, i], strict=True)
                    },
                    "n_slices": int(predictions.n_slices[i]),
                    "phases": predictions.phases[i],
                }


def read_predictions(folder: Path, *, style: TableStyle | None = None) -> Predictions:
    """Rebuild the predictions from predictions.csv.

    Raises:
        ResultsError: the table is missing, lacks a column, or lacks a row of some patient, repeat and model.
    """
    path, style = folder / FILE, style or TableStyle()
    rows = read_table(path, style=style)
    classes = _classes(path, rows)
    patients = _numbered(row["patient_id"] for row in rows)
    models = _numbered(row["model"] for row in rows)
    n_repeats = 1 + max(int(row["repeat"]) for row in rows)
    probabilities = np.full((len(models), n_repeats, len(patients), len(classes)), np.nan)
    fold = np.full((n_repeats, len(patients)), -1, dtype=np.intp)
    first: dict[str, Mapping[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        patient, repeat = patients[row["patient_id"]], int(row["repeat"])
        cells = (row[f"{PROBABILITY_PREFIX}{name}"] for name in classes)
        try:
            values = [float(cell.replace(style.decimal, ".")) for cell in cells]
        except ValueError as error:
            raise ResultsError(f"{path}, line {line}: expected a probability, {error}") from None
        probabilities[models[row["model"]], repeat, patient] = values
        fold[repeat, patient] = int(row["fold"])
        first.setdefault(row["patient_id"], row)
    _refuse_gaps(path, probabilities, models, patients)
    return Predictions(
        classes=classes,
        patient_ids=tuple(patients),
        labels=np.array([classes.index(row["label"]) for row in first.values()], dtype=np.intp),
        fold=fold,
        probabilities={model: probabilities[i] for model, i in models.items()},
        n_slices=np.array([int(row["n_slices"]) for row in first.values()], dtype=np.intp),
        phases=tuple(row["phases"] for row in first.values()),
    )


def _classes(path: Path, rows: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    if not rows:
        raise ResultsError(f"{path}: expected predictions, found no row")
    classes = tuple(
        name.removeprefix(PROBABILITY_PREFIX) for name in rows[0] if name.startswith(PROBABILITY_PREFIX)
    )
    missing = [name for name in prediction_columns(classes) if name not in rows[0]]
    if missing or not classes:
        raise ResultsError(f"{path}: expected column {missing[0] if missing else 'p_<class>'}, found none")
    unknown = sorted({row["label"] for row in rows} - set(classes))
    if unknown:
        raise ResultsError(f"{path}: label {unknown[0]!r} has no column {PROBABILITY_PREFIX}{unknown[0]}")
    return classes


def _numbered(names: Iterator[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def _refuse_gaps(
    path: Path, probabilities: np.ndarray, models: Mapping[str, int], patients: Mapping[str, int]
) -> None:
    gaps = np.argwhere(~np.isfinite(probabilities))
    if len(gaps):
        model, repeat, patient, _ = gaps[0]
        raise ResultsError(
            f"{path}: no prediction for patient {list(patients)[patient]}, repeat {repeat}, model "
            f"{list(models)[model]}; expected one row for each patient, repeat and model"
        )
