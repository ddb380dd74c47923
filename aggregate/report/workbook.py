"""results.xlsx: the results for a spreadsheet, beginning with what they are and how they are read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from aggregate.outcomes.tables.performance import OUTCOME_PERFORMANCE
from aggregate.outcomes.tables.predictions import PREDICTIONS_OF
from aggregate.report.cautions import cautions
from aggregate.report.elements import METRIC_NAMES
from aggregate.report.folder import ResultsFolder
from aggregate.report.spreadsheet import Sheet, SheetColumn, TextSheet, write_sheets
from aggregate.report.workbook_sheets import (
    PATIENTS_SHEET,
    PERFORMANCE_SHEET,
    PLAIN,
    patients_sheet,
    performance_sheet,
    table_sheet,
)
from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.selection import SELECTION
from aggregate.tables.dictionary import COLUMNS
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.registry import all_tables
from pipeline.tables import TABLES

WORKBOOK = "results.xlsx"
START_SHEET, DICTIONARY_SHEET = "start here", "dictionary"
SYNTHETIC = (
    "SYNTHETIC PATIENTS: these scans were drawn by a program. No number here says anything about people."
)
_WHAT = (
    "Results of phasemil: {task} of patients from multiphasic CT. Every patient is predicted by models that were not "
    "trained on that patient (out-of-fold). For research: no diagnosis of a single patient."
)
_TASKS = {
    "classification": "classification",
    "survival": "prognosis",
    "regression": "prediction of a number",
    "ordinal": "grading",
}
_INTERVALS = (
    "low and high (ci_low and ci_high) are the ends of a {level} confidence interval: with other patients of this kind and the "
    "same models the value could well lie anywhere between them. It tells nothing of other scanners or hospitals. Two intervals "
    "do not show whether two models differ; the comparisons in report.html do."
)
_BESIDE = f"report.html has the figures, the folder {TABLES} every table as CSV, run.json the settings."
_NOTHING_DECLARED = "None was declared before the results were seen: every comparison is exploratory"
_ANSWERS = {
    PATIENTS_SHEET: "What is predicted for each patient, how sure is it, and which patients should be reviewed?",
    PERFORMANCE_SHEET: "How well does each model separate the classes, and is it better than the baselines?",
    "leaderboard": "Which configuration is best, and what does it cost? The first row is the largest of many: optimistic.",
    "selection": "What would a reader get who picks the best of this grid?",
    "halving_summary": "Which configurations did the search within the budget try, and pick how often?",
    **{
        table.file.removesuffix(".csv"): "What is said of each patient by each model, in each repeat?"
        for table in PREDICTIONS_OF.values()
    },
    "outcome_performance": "How well does each model foretell the outcome, and is it better than the baselines?",
    DICTIONARY_SHEET: f"What does each column mean, here and in the files of the folder {TABLES}?",
}


def write_workbook(folder: ResultsFolder) -> None:
    """Write results.xlsx from the tables of a results folder; equal tables give the same bytes."""
    sheets = _study_sheets(folder) or _run_sheets(folder)
    dictionary = _dictionary_sheet(folder, sheets)
    write_sheets(folder.path / WORKBOOK, [_start_sheet(folder, [*sheets, dictionary]), *sheets, dictionary])


def _run_sheets(folder: ResultsFolder) -> list[Sheet]:
    if folder.task != "classification":
        shown_tables = (PREDICTIONS_OF[folder.task], OUTCOME_PERFORMANCE)
        return [table_sheet(folder, table) for table in shown_tables if folder.tables.holds(table)]
    sheets, predictions, shown = [], folder.predictions, folder.shown
    if predictions is not None and shown is not None:
        sheets.append(patients_sheet(folder, predictions, shown.name))
    if folder.rows(PERFORMANCE):
        sheets.append(performance_sheet(folder))
    return sheets


def _study_sheets(folder: ResultsFolder) -> list[Sheet]:
    """Return the sheets of a study; none where the folder is that of a run."""
    if not folder.tables.holds(LEADERBOARD) and not folder.tables.holds(HALVING_SUMMARY):
        return []
    shown = (LEADERBOARD, HALVING_SUMMARY, SELECTION)
    return [table_sheet(folder, table) for table in shown if folder.tables.holds(table)]


def _start_sheet(folder: ResultsFolder, sheets: Sequence[Sheet]) -> TextSheet:
    names = [sheet.name for sheet in sheets]
    warnings = [*([SYNTHETIC] if folder.is_synthetic else []), *cautions(folder)]
    rows = [
        ("What this is", _WHAT.format(task=_TASKS[folder.task])),
        *_patients(folder),
        *(_models(folder) if PATIENTS_SHEET in names or PERFORMANCE_SHEET in names else ()),
        *((f"Sheet {name}", _ANSWERS[name]) for name in names),
        ("Intervals", _INTERVALS.format(level=folder.level)),
        ("Beside this file", _BESIDE),
        ("Encoder weights", str(folder.run.get("weights", ""))),
        ("Written", str(folder.run.get("created_utc", ""))),
    ]
    return TextSheet(START_SHEET, str(folder.run.get("name", folder.path.name)), rows, warnings)


def _patients(folder: ResultsFolder) -> Iterator[tuple[str, str]]:
    predictions = folder.predictions
    if predictions is not None:
        counts = Counter(predictions.labels.tolist())
        by_class = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(predictions.classes))
        repeats = f"{predictions.n_repeats} repeats" if predictions.n_repeats > 1 else "1 repeat"
        yield "Patients", f"{len(predictions.patient_ids)} ({by_class}), each predicted once in {repeats}"
    excluded = folder.rows(EXCLUDED)
    if excluded:
        yield (
            "Left out",
            f"{len(excluded)} rows of excluded.csv list patients and phases left out, with the reason",
        )


def _models(folder: ResultsFolder) -> Iterator[tuple[str, str]]:
    yield "Models", ", ".join(folder.models)
    if folder.plain:
        yield "For comparison", f"{', '.join(folder.plain)}: {PLAIN}"
    yield "Baselines", ", ".join(folder.baselines) or "none were run"
    primary = folder.settings("aggregate", "statistics", "primary")
    yield "Declared comparison", (_declared(primary) if primary else _NOTHING_DECLARED)
    if folder.shown is not None:
        caution = ", so optimistic" if folder.shown.is_best_of_several else ""
        yield (
            "Model shown",
            f"{folder.shown.name} ({folder.shown.rule}{caution}), on the sheet {PATIENTS_SHEET} as in report.html",
        )


def _declared(primary: Mapping[str, str]) -> str:
    metric = f"macro {METRIC_NAMES[primary['metric']]}"
    return (
        f"{primary['model_a']} with {primary['model_b']} by {metric}, declared before the results were seen"
    )


def _dictionary_sheet(folder: ResultsFolder, sheets: Sequence[Sheet]) -> Sheet:
    columns = (
        SheetColumn("where", "Sheet of this workbook, or file of the folder"),
        SheetColumn("column", "Column of the sheet or file"),
        SheetColumn("meaning", "Meaning of the column"),
        SheetColumn("unit", "Unit or range; empty for words and counts"),
    )
    rows: list[Sequence[object]] = [
        (f"sheet {sheet.name}", column.name, column.meaning, column.unit)
        for sheet in sheets
        for column in sheet.columns
    ]
    explained = folder.rows(COLUMNS)
    for table in all_tables():
        of_table = [row for row in explained if row["file"] == table.file]
        rows += [(table.location, row["column"], row["meaning"], row["unit"]) for row in of_table]
        if of_table and table.words:
            column, words = table.words
            rows += [(table.location, f"{column} = {word}", said, "") for word, said in words.items()]
    return Sheet(DICTIONARY_SHEET, columns, rows)
