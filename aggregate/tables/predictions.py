"""predictions.csv: the out-of-fold predictions, written and read back without loss of digits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.predictions import Predictions
from aggregate.statistics.measures import predicted_labels
from aggregate.statistics.printed_probabilities import PROBABILITY_DIGITS
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row
from aggregate.tables.shared_columns import LABEL, MODEL, PATIENT_ID, PROBABILITY_OF_CLASS, REPEAT
from aggregate.tables.table import Column, Kind, Table
from pipeline.errors import ResultsError

PREDICTIONS = Table(
    "predictions.csv",
    "patient x repeat x model",
    (
        PATIENT_ID,
        LABEL,
        MODEL,
        REPEAT,
        Column(
            "fold",
            "Fold in which the patient was tested, by a model that was not trained on the patient",
            "",
            Kind.COUNT,
        ),
        Column("predicted", "Most probable class; the first one if several are equal"),
        PROBABILITY_OF_CLASS,
        Column(
            "n_slices",
            "Slices in the bag, each once at however many scales; of several bag sets, in the first that has one",
            "slices",
            Kind.COUNT,
        ),
        Column("phases", "Phases present in that bag"),
    ),
    place=40,
    digits=PROBABILITY_DIGITS,
    notes="The main result: `aggregate.py tables RESULTS` computes all other tables from it without training.",
)
PROBABILITY_PREFIX = "p_"
_SUM_TOLERANCE = 1e-6
_OF_PATIENT = ("label", "n_slices", "phases")
"""Columns that every row of a patient repeats."""


def write_predictions(tables: ResultTables, predictions: Predictions) -> None:
    """Write predictions.csv: one row per patient, repeat and model, in that order."""
    tables.write(PREDICTIONS, _rows(predictions), {"class": predictions.classes})


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


def read_predictions(tables: ResultTables) -> Predictions:
    """Rebuild the predictions from predictions.csv, also where a spreadsheet saved it again.

    Raises:
        ResultsError: the table is missing, lacks a column or a row of some patient, repeat and model, or holds a
            row that contradicts itself or another; the line is named.
    """
    path, rows = tables.path(PREDICTIONS), tables.read(PREDICTIONS)
    classes = _classes(path, rows)
    for row in rows:
        _check(row, classes)
    patients = _numbered(row["patient_id"] for row in rows)
    models = _numbered(row["model"] for row in rows)
    n_repeats = 1 + max(row["repeat"] for row in rows)
    probabilities = np.full((len(models), n_repeats, len(patients), len(classes)), np.nan)
    fold = np.full((n_repeats, len(patients)), -1, dtype=np.intp)
    first: dict[str, Row] = {}
    for row in rows:
        place = models[row["model"]], row["repeat"], patients[row["patient_id"]]
        if np.isfinite(probabilities[place]).any():
            raise row.fault("a second row of this patient, repeat and model; expected one")
        if fold[place[1:]] not in (-1, row["fold"]):
            raise row.fault(
                f"fold {row['fold']} in a repeat that tests this patient in fold {fold[place[1:]]}"
            )
        known = first.setdefault(row["patient_id"], row)
        if any(row[name] != known[name] for name in _OF_PATIENT):
            raise row.fault(f"another label, n_slices or phases of this patient than in line {known.line}")
        probabilities[place] = _probabilities(row, classes)
        fold[place[1:]] = row["fold"]
    _refuse_gaps(path, probabilities, models, patients)
    return Predictions(
        classes=classes,
        patient_ids=tuple(patients),
        labels=np.array([classes.index(row["label"]) for row in first.values()], dtype=np.intp),
        fold=fold,
        probabilities={model: probabilities[i] for model, i in models.items()},
        n_slices=np.array([row["n_slices"] for row in first.values()], dtype=np.intp),
        phases=tuple(row["phases"] for row in first.values()),
    )


def _probabilities(row: Row, classes: Sequence[str]) -> list[float]:
    return [row[f"{PROBABILITY_PREFIX}{name}"] for name in classes]


def _check(row: Row, classes: Sequence[str]) -> None:
    """Refuse what cannot be a prediction."""
    for name in ("repeat", "fold", *(f"{PROBABILITY_PREFIX}{name}" for name in classes), "n_slices"):
        row.require(name, PREDICTIONS)
    probabilities = _probabilities(row, classes)
    if abs(sum(probabilities) - 1) > _SUM_TOLERANCE:
        raise row.fault(f"the probabilities sum to {sum(probabilities):g}; expected 1")
    if row["label"] not in classes:
        raise row.fault(f"label {row['label']!r} has no column {PROBABILITY_PREFIX}{row['label']}")
    called = row["predicted"]
    # Releases that rounded after they had chosen wrote another of classes that print alike.
    if called not in classes or probabilities[classes.index(called)] < max(probabilities):
        raise row.fault(f"predicted is {called!r}, which is not the most probable class")


def _classes(path: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    if not rows:
        raise ResultsError(f"{path}: expected predictions, found no row")
    names = list(rows[0])
    classes = tuple(
        name.removeprefix(PROBABILITY_PREFIX) for name in names if name.startswith(PROBABILITY_PREFIX)
    )
    missing = [name for name in PREDICTIONS.header({"class": classes}) if name not in names]
    if missing or not classes:
        raise ResultsError(
            f"{path}: expected column {missing[0] if missing else 'p_<class>'}, found {', '.join(names)}"
        )
    return classes


def _numbered(names: Iterable[str]) -> dict[str, int]:
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
