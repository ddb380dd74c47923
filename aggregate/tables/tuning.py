"""tune_predictions.csv: what the thresholds were chosen on, so that their table can be rebuilt without training."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.predictions import PROBABILITY_DIGITS
from aggregate.statistics.decisions import TuneFold
from aggregate.tables.predictions import PROBABILITY_PREFIX
from pipeline.errors import ResultsError
from pipeline.tables import Line, TableStyle, number_in, read_lines, whole_number_in, write_table

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
    path = folder / TUNING
    if not path.exists():
        return {}
    by_fold: dict[tuple[str, int, int], list[tuple[str, int, list[float]]]] = defaultdict(list)
    for line in read_lines(path, style=style):
        key, patient = _understood(path, line, classes)
        by_fold[key].append(patient)
    tuning = defaultdict(list)
    for (model, repeat, fold), patients in by_fold.items():
        names, labels, probabilities = zip(*patients, strict=True)
        tuning[model].append(
            TuneFold(
                repeat=repeat,
                fold=fold,
                patient_ids=names,
                labels=np.array(labels, dtype=np.intp),
                probabilities=np.array(probabilities, dtype=float),
            )
        )
    return tuning


def _understood(
    path: Path, line: Line, classes: Sequence[str]
) -> tuple[tuple[str, int, int], tuple[str, int, list[float]]]:
    """Return the model, repeat and fold of a line, and its patient, label and probabilities."""
    cells = line.cells
    missing = [name for name in tuning_columns(classes) if name not in cells]
    if missing:
        raise ResultsError(f"{path}: expected column {missing[0]}, found {', '.join(cells)}")
    repeat, fold = whole_number_in(cells["repeat"]), whole_number_in(cells["fold"])
    values = [number_in(cells[f"{PROBABILITY_PREFIX}{c}"]) for c in classes]
    known = [value for value in values if value is not None and 0 <= value <= 1]
    if repeat is None or fold is None or cells["label"] not in classes or len(known) < len(classes):
        raise ResultsError(
            f"{path}, line {line.number}, patient {cells['patient_id']!r}: expected a repeat, a fold, a label and "
            f"probabilities from 0 to 1, found {', '.join(list(cells.values())[:-1])}"
        )
    label = classes.index(cells["label"])
    return (cells["model"], repeat, fold), (cells["patient_id"], label, known)
