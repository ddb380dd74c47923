"""The out-of-fold predictions of an outcome, written and read back: one table for each task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.outcomes.outcome import (
    PREDICTED,
    PROBABILITY_PREFIX,
    RISK,
    SURVIVAL_PREFIX,
    Outcome,
    columns_of,
    survival_values,
)
from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.outcomes.section import OutcomeSection, Task
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row
from aggregate.tables.shared_columns import MODEL, PATIENT_ID, REPEAT
from aggregate.tables.table import Column, Kind, Names, Step, Table
from pipeline.errors import ResultsError

_FOLD = Column(
    "fold",
    "Fold in which the patient was tested, by a model that was not trained on the patient",
    "",
    Kind.COUNT,
)
_NOTES = "The main result: `aggregate.py tables RESULTS` computes all other tables from it without training."
PERCENTILE = "percentile"
SURVIVAL_PREDICTIONS = Table(
    "survival_predictions.csv",
    "patient x repeat x model",
    (
        PATIENT_ID,
        Column("time", "Time observed", "unit of the outcome", Kind.NUMBER),
        Column("event", "Whether it ended with the event", "", Kind.YES_NO),
        MODEL,
        REPEAT,
        _FOLD,
        Column(RISK, "Logarithm of the hazard ratio to the mean training patient of the fold: higher is worse", "", Kind.NUMBER),
        Column(
            PERCENTILE,
            "Share of the tune patients of the fold with a lower risk, of those with the same a half; empty for drawn_truth",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column(f"{SURVIVAL_PREFIX}<time>", "Predicted probability to have no event until this time", "0 to 1", Kind.PROBABILITY),
    ),
    place=700,
    step=Step.OUTCOME,
    notes=_NOTES,
)  # fmt: skip
REGRESSION_PREDICTIONS = Table(
    "regression_predictions.csv",
    "patient x repeat x model",
    (
        PATIENT_ID,
        Column("observed", "The number, as in the cohort table", "as given", Kind.NUMBER),
        MODEL,
        REPEAT,
        _FOLD,
        Column(PREDICTED, "Predicted number", "as given", Kind.NUMBER),
    ),
    place=710,
    step=Step.OUTCOME,
    notes=_NOTES,
)
ORDINAL_PREDICTIONS = Table(
    "ordinal_predictions.csv",
    "patient x repeat x model",
    (
        PATIENT_ID,
        Column("observed", "The grade"),
        MODEL,
        REPEAT,
        _FOLD,
        Column(
            f"{PROBABILITY_PREFIX}<grade>", "Predicted probability of the grade", "0 to 1", Kind.PROBABILITY
        ),
    ),
    place=720,
    step=Step.OUTCOME,
    notes=_NOTES,
)
PREDICTIONS_OF: Mapping[Task, Table] = {
    "survival": SURVIVAL_PREDICTIONS,
    "regression": REGRESSION_PREDICTIONS,
    "ordinal": ORDINAL_PREDICTIONS,
}


def write_outcome_predictions(tables: ResultTables, predictions: OutcomePredictions) -> None:
    """Write the table of the task: one row per patient, repeat and model, in that order."""
    outcome = predictions.outcome
    tables.write(PREDICTIONS_OF[outcome.task], _rows(predictions), _names(outcome.columns))


def _names(columns: Sequence[str]) -> Names:
    of_prefix = {"time": SURVIVAL_PREFIX, "grade": PROBABILITY_PREFIX}
    return {
        what: [name.removeprefix(prefix) for name in columns if name.startswith(prefix)]
        for what, prefix in of_prefix.items()
    }


def _rows(predictions: OutcomePredictions) -> Iterator[Mapping[str, Any]]:
    outcome = predictions.outcome
    for i, patient_id in enumerate(predictions.patient_ids):
        for repeat in range(len(predictions.fold)):
            for model, values in predictions.values.items():
                row = {"patient_id": patient_id, **_observed(outcome, i), "model": model, "repeat": repeat}
                row["fold"] = int(predictions.fold[repeat, i])
                row |= dict(zip(outcome.columns, map(float, values[repeat, i]), strict=True))
                if outcome.task == "survival":
                    known = predictions.percentiles.get(model)
                    row[PERCENTILE] = None if known is None else float(known[repeat, i])
                yield row


def _observed(outcome: Outcome, patient: int) -> Mapping[str, Any]:
    value = outcome.values[patient]
    if outcome.task == "survival":
        return {"time": float(value["time"]), "event": bool(value["event"])}
    return {"observed": float(value) if outcome.task == "regression" else outcome.section.order[int(value)]}


def read_outcome_predictions(tables: ResultTables, task: Task, section: OutcomeSection) -> OutcomePredictions:
    """Rebuild the predictions from the table of the task, also where a spreadsheet saved it again.

    Raises:
        ResultsError: the table is missing, lacks a column or a row of some patient, repeat and model, or says two things of one
            patient.
    """
    table = PREDICTIONS_OF[task]
    path, rows, columns = tables.path(table), tables.read(table), columns_of(task, section)
    if not rows:
        raise ResultsError(f"{path}: expected predictions, found no row")
    patients, models = _numbered(rows, "patient_id"), _numbered(rows, "model")
    n_repeats = 1 + max(row["repeat"] for row in rows)
    values = np.full((len(models), n_repeats, len(patients), len(columns)), np.nan)
    percentiles = np.full(values.shape[:3], np.nan)
    fold = np.full((n_repeats, len(patients)), -1, dtype=np.intp)
    first: dict[str, Row] = {}
    for row in rows:
        place = models[row["model"]], row["repeat"], patients[row["patient_id"]]
        for column in columns:
            row.require(column, table)
        known = first.setdefault(row["patient_id"], row)
        if any(row[name] != known[name] for name in _observed_names(task)) or fold[place[1:]] not in (
            -1,
            row["fold"],
        ):
            raise row.fault(f"another outcome or fold of this patient than in line {known.line}")
        if np.isfinite(values[place]).any():
            raise row.fault("a second row of this patient, repeat and model; expected one")
        values[place] = [row[column] for column in columns]
        percentiles[place] = row[PERCENTILE] if task == "survival" and row[PERCENTILE] is not None else np.nan
        fold[place[1:]] = row["fold"]
    if not np.isfinite(values).all():
        model, repeat, patient, _ = np.argwhere(~np.isfinite(values))[0]
        raise ResultsError(
            f"{path}: no prediction for patient {list(patients)[patient]}, repeat {repeat}, model {list(models)[model]}; expected one "
            "row for each patient, repeat and model"
        )
    outcome = Outcome.of(task, _values(task, section, list(first.values())), section)
    placed = {model: percentiles[i] for model, i in models.items() if np.isfinite(percentiles[i]).all()}
    return OutcomePredictions(
        outcome, tuple(patients), fold, {model: values[i] for model, i in models.items()}, placed
    )


def _observed_names(task: Task) -> tuple[str, ...]:
    return ("time", "event") if task == "survival" else ("observed",)


def _values(task: Task, section: OutcomeSection, rows: Sequence[Row]) -> np.ndarray:
    if task == "survival":
        return survival_values([row["event"] for row in rows], [row["time"] for row in rows])
    if task == "regression":
        return np.array([row["observed"] for row in rows], dtype=np.float64)
    unknown = next((row for row in rows if row["observed"] not in section.order), None)
    if unknown is not None:
        raise unknown.fault(f"grade {unknown['observed']!r}; expected one of {', '.join(section.order)}")
    return np.array([section.order.index(row["observed"]) for row in rows], dtype=np.intp)


def _numbered(rows: Sequence[Row], column: str) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(row[column] for row in rows))}
