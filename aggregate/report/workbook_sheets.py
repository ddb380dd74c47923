"""The sheets of results.xlsx that hold numbers: a patient in each row, a model in each row, or a table as it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aggregate.cohort.study_cohort import UNSEEN
from aggregate.predictions import Predictions
from aggregate.report.folder import ResultsFolder
from aggregate.report.spreadsheet import Sheet, SheetColumn
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.statistics.measures import MACRO, predicted_labels
from aggregate.statistics.printed_probabilities import as_printed
from aggregate.tables.cohort import COHORT
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.rows import Row, printable
from aggregate.tables.table import WEIGHTS, Table

PATIENTS_SHEET, PERFORMANCE_SHEET = "patients", "performance"
MODEL, PLAIN, BASELINE = "model", "plain comparator on the same images", "baseline without images"
"""Roles of what was run: of the configuration; added by the run for comparison."""
MISCLASSIFIED = "misclassified in every repeat"
_PROBABILITY, _SHARE = "0.00", "0%"


def patients_sheet(folder: ResultsFolder, predictions: Predictions, model: str) -> Sheet:
    """Return a row for each patient as one model sees it, then those left out, with the reason."""
    columns = (
        SheetColumn("patient", "Patient identifier, as in the cohort table"),
        SheetColumn("reference", "Reference class of the patient"),
        SheetColumn("predicted", "Class with the largest mean probability; the first one if several are equal"),
        SheetColumn("correct", "yes where predicted is the reference class"),
        SheetColumn(
            "agreement", "Share of the repeats that predict this class, too", "0 to 100 %", _SHARE
        ),
        *(
            SheetColumn(
                f"p {name}",
                f"Probability of {name}, mean over the repeats, by models that were not trained on the patient",
                "0 to 1",
                _PROBABILITY,
            )
            for name in predictions.classes
        ),
        SheetColumn("phases", "Contrast phases with at least one slice"),
        SheetColumn("slices", "Slices that the model could see", "slices"),
        SheetColumn("flags", f"Missing phases, reasons why a patient was left out, and {MISCLASSIFIED!r}"),
    )  # fmt: skip
    rows = [*_analysed(folder, predictions, model), *_left_out(folder, predictions)]
    return Sheet(PATIENTS_SHEET, columns, rows, fixed=1)


def _analysed(folder: ResultsFolder, predictions: Predictions, model: str) -> Iterator[list[object]]:
    probabilities = predictions.probabilities[model]
    mean = as_printed(probabilities.mean(axis=0))  # (n, classes)
    called, of_repeats = mean.argmax(axis=1), predicted_labels(probabilities)
    agreement = (of_repeats == called).mean(axis=0)
    always_wrong = (of_repeats != predictions.labels).all(axis=0)
    flags = _flags(folder, model)
    for i, name in enumerate(predictions.patient_ids):
        told = [*([MISCLASSIFIED] if always_wrong[i] else []), *flags.get(name, ())]
        yield [
            name,
            predictions.classes[predictions.labels[i]],
            predictions.classes[called[i]],
            "yes" if called[i] == predictions.labels[i] else "no",
            agreement[i],
            *mean[i],
            predictions.phases[i],
            predictions.n_slices[i],
            "; ".join(told),
        ]


def _left_out(folder: ResultsFolder, predictions: Predictions) -> Iterator[list[object]]:
    labels = {row["patient_id"]: row["label"] for row in folder.rows(COHORT)}
    reasons: dict[str, list[str]] = {}
    for row in folder.rows(EXCLUDED, phase=""):
        if row["patient_id"] not in predictions.patient_ids and not _is_of_a_model(row):
            reasons.setdefault(row["patient_id"], []).append(row["reason"])
    for name, told in reasons.items():
        numbers = [None] * (3 + len(predictions.classes))
        yield [name, labels.get(name), *numbers, None, None, f"left out: {'; '.join(told)}"]


def _flags(folder: ResultsFolder, model: str) -> Mapping[str, list[str]]:
    """Return what is to be said of the data of each patient."""
    found: dict[str, list[str]] = {}
    for row in folder.rows(COHORT):
        if row["phases_missing"]:
            phases = row["phases_missing"].replace("+", ", ")
            found.setdefault(row["patient_id"], []).append(f"missing phase: {phases}")
    for row in folder.rows(EXCLUDED):
        if row["phase"]:
            found.setdefault(row["patient_id"], []).append(f"{row['phase']} left out: {row['reason']}")
        elif row["stage"] == f"{UNSEEN}{model}":
            found.setdefault(row["patient_id"], []).append(f"not seen by {model}: {row['reason']}")
    return found


def _is_of_a_model(row: Row) -> bool:
    return str(row["stage"]).startswith(UNSEEN)


def performance_sheet(folder: ResultsFolder) -> Sheet:
    """Return a row for each model, then what sees a part of the images, then the baselines; the best macro AUC first."""
    measured = [
        ("macro AUC", MACRO, "auc", "Area under the ROC curve, mean over the classes; 0.5 is chance"),
        *(
            (f"AUC {name}", name, "auc", f"Area under the ROC curve of {name} against all others")
            for name in folder.classes
        ),
        (
            "balanced accuracy",
            MACRO,
            "balanced_accuracy",
            "Mean over the classes of the share of their patients that is predicted right",
        ),
    ]
    columns = [
        SheetColumn("model", "Name of the model, as in the configuration; baselines have built-in names"),
        SheetColumn("role", f"{MODEL}; or, for comparison, {PLAIN} or {BASELINE}"),
        SheetColumn("patients", "Number of patients behind the values"),
    ]  # fmt: skip
    for title, _, _, meaning in measured:
        columns += [
            SheetColumn(title, meaning, "0 to 1"),
            SheetColumn(f"{title} low", f"Lower end of its {folder.level} confidence interval", "0 to 1"),
            SheetColumn(f"{title} high", "Upper end of that interval", "0 to 1"),
        ]
    columns.append(SheetColumn("remark", "Why a number or an interval is missing"))
    rows = {(r["model"], r["class"], r["metric"]): r for r in folder.rows(PERFORMANCE)}
    asked = [(name, metric) for _, name, metric, _ in measured]
    roles = {MODEL: folder.models, PLAIN: folder.plain, BASELINE: folder.baselines}
    ranked = [(model, role) for role, models in roles.items() for model in models]
    cells = [[m, role, *_performance([rows.get((m, *one)) for one in asked])] for m, role in ranked]
    return Sheet(PERFORMANCE_SHEET, columns, cells, fixed=1)


def _performance(found: Sequence[Row | None]) -> list[object]:
    """Return the cells of one model from its rows: n, estimates with their intervals, the remark."""
    cells: list[object] = [found[0]["n"] if found[0] else None]
    for row in found:
        cells += [row[name] for name in ("estimate", "ci_low", "ci_high")] if row else [None] * 3
    missing = dict.fromkeys(row["ci_method"] for row in found if row and NOT_ESTIMABLE in row["ci_method"])
    return [*cells, "; ".join(missing)]


def table_sheet(folder: ResultsFolder, table: Table) -> Sheet:
    """Return a table as it is, without the column of the weights."""
    names = [name for name in folder.tables.header(table) if name != WEIGHTS.name]
    columns = [SheetColumn(name, *(folder.tables.explained(table, name) or ("",))) for name in names]
    rows: list[dict[str, Any]] = printable(table, folder.rows(table))
    return Sheet(table.file.removesuffix(".csv"), columns, [[row[name] for name in names] for row in rows])
