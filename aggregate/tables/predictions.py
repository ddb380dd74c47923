"""predictions.csv: the product of stage 2, written and read back to the last digit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.predictions import PROBABILITY_DIGITS, Predictions
from aggregate.statistics.measures import predicted_labels
from pipeline.errors import ResultsError
from pipeline.tables import Line, TableStyle, number_in, read_lines, whole_number_in, write_table

FILE = "predictions.csv"
PROBABILITY_PREFIX = "p_"
_SUM_TOLERANCE = 1e-6


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
    """Rebuild the predictions from predictions.csv, also where a spreadsheet saved it again.

    Raises:
        ResultsError: the table is missing, lacks a column or a row of some patient, repeat and model, or holds a
            row that contradicts itself or another; the line is named.
    """
    path = folder / FILE
    lines = read_lines(path, style=style)
    classes = _classes(path, lines)
    patients = _numbered(line.cells["patient_id"] for line in lines)
    models = _numbered(line.cells["model"] for line in lines)
    rows = [_row(path, line, classes) for line in lines]
    n_repeats = 1 + max(row.repeat for row in rows)
    probabilities = np.full((len(models), n_repeats, len(patients), len(classes)), np.nan)
    fold = np.full((n_repeats, len(patients)), -1, dtype=np.intp)
    first: dict[str, _Row] = {}
    for row in rows:
        place = models[row.model], row.repeat, patients[row.patient_id]
        if np.isfinite(probabilities[place]).any():
            raise row.fault("a second row of this patient, repeat and model; expected one")
        if fold[place[1:]] not in (-1, row.fold):
            raise row.fault(f"fold {row.fold} in a repeat that tests this patient in fold {fold[place[1:]]}")
        known = first.setdefault(row.patient_id, row)
        if (row.label, row.n_slices, row.phases) != (known.label, known.n_slices, known.phases):
            raise row.fault(f"another label, n_slices or phases of this patient than in line {known.line}")
        probabilities[place] = row.probabilities
        fold[place[1:]] = row.fold
    _refuse_gaps(path, probabilities, models, patients)
    return Predictions(
        classes=classes,
        patient_ids=tuple(patients),
        labels=np.array([classes.index(row.label) for row in first.values()], dtype=np.intp),
        fold=fold,
        probabilities={model: probabilities[i] for model, i in models.items()},
        n_slices=np.array([row.n_slices for row in first.values()], dtype=np.intp),
        phases=tuple(row.phases for row in first.values()),
    )


@dataclass(frozen=True)
class _Row:
    """One line of predictions.csv."""

    path: Path
    line: int
    patient_id: str
    label: str
    model: str
    repeat: int
    fold: int
    probabilities: tuple[float, ...]
    n_slices: int
    phases: str

    def fault(self, problem: str) -> ResultsError:
        """Return the error that names this line."""
        return ResultsError(f"{self.path}, line {self.line}, patient {self.patient_id!r}: {problem}")


def _row(path: Path, line: Line, classes: Sequence[str]) -> _Row:
    """Parse a line, and refuse what cannot be a prediction."""
    cells = line.cells
    numbers = {name: whole_number_in(cells[name]) for name in ("repeat", "fold", "n_slices")}
    values = [number_in(cells[f"{PROBABILITY_PREFIX}{name}"]) for name in classes]
    row = _Row(
        path=path,
        line=line.number,
        patient_id=cells["patient_id"],
        label=cells["label"],
        model=cells["model"],
        repeat=numbers["repeat"] or 0,
        fold=numbers["fold"] or 0,
        probabilities=tuple(np.nan if value is None else value for value in values),
        n_slices=numbers["n_slices"] or 0,
        phases=cells["phases"],
    )
    for name, number in numbers.items():
        if number is None or number < 0:
            raise row.fault(f"expected {name} as a whole number from 0, found {cells[name]!r}")
    for name, value in zip(classes, values, strict=True):
        if value is None or not 0 <= value <= 1:
            column = f"{PROBABILITY_PREFIX}{name}"
            raise row.fault(f"expected a probability from 0 to 1 in {column}, found {cells[column]!r}")
    if abs(sum(row.probabilities) - 1) > _SUM_TOLERANCE:
        raise row.fault(f"the probabilities sum to {sum(row.probabilities):g}; expected 1")
    if row.label not in classes:
        raise row.fault(f"label {row.label!r} has no column {PROBABILITY_PREFIX}{row.label}")
    called = cells["predicted"]
    # Releases that rounded after they had chosen wrote another of classes that print alike.
    if called not in classes or row.probabilities[classes.index(called)] < max(row.probabilities):
        raise row.fault(f"predicted is {called!r}, which is not the most probable class")
    return row


def _classes(path: Path, lines: Sequence[Line]) -> tuple[str, ...]:
    if not lines:
        raise ResultsError(f"{path}: expected predictions, found no row")
    names = lines[0].cells
    classes = tuple(
        name.removeprefix(PROBABILITY_PREFIX) for name in names if name.startswith(PROBABILITY_PREFIX)
    )
    missing = [name for name in prediction_columns(classes) if name not in names]
    if missing or not classes:
        raise ResultsError(
            f"{path}: expected column {missing[0] if missing else 'p_<class>'}, found {', '.join(names)}"
        )
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
