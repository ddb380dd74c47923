"""The summary printed after a run: the performance table and the folder of the results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregate.report.answers import answers
from aggregate.report.elements import Note
from aggregate.report.folder import ResultsFolder
from aggregate.report.page import REPORT
from aggregate.report.workbook import WORKBOOK
from aggregate.tables.dictionary import COLUMNS
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row, numeric
from pipeline.bags import RANDOM_BANNER
from pipeline.run_log import say, say_table

OPEN_NEXT: Mapping[str, str] = {
    REPORT: "the answers with figures, controls and pictures, in a browser",
    WORKBOOK: "one row per patient, and the performance, in a spreadsheet",
    PERFORMANCE.location: f"every number with its interval and n; {COLUMNS.location} says what each column means",
}
"""File of the results folder -> what a reader finds there."""


def print_summary(tables: ResultTables, name: str, classes: Sequence[str], console: Console) -> None:
    """Print macro AUC, balanced accuracy and per-class AUC of every model, what they mean, and what to open."""
    rows = tables.read(PERFORMANCE)
    weights = rows[0]["weights"]
    if weights.startswith(RANDOM_BANNER):
        say(console, f"{weights}: the encoder is untrained; these figures say nothing about patients")
    title = f"{name}: out-of-fold performance [{tables.level} CI], weights {weights}"
    say_table(console, _performance_table(rows, classes, title))
    excluded = tables.read(EXCLUDED)
    if excluded:
        say(console, f"{len(excluded)} rows in {EXCLUDED.location} list what was left out, with the reason")
    _print_answers(tables.folder, console)
    say(console, f"Results: {tables.folder}")
    for name, what in OPEN_NEXT.items():
        if (tables.folder / name).exists():
            say(console, f"  {name}: {what}")


def _print_answers(folder: Path, console: Console) -> None:
    """Print whether it works and which model is best, as the report says it."""
    for note in answers(ResultsFolder(folder))[:2]:
        if isinstance(note, Note):
            say(console, f"{note.lead} {note.text}".lstrip())
            console.print()


def _performance_table(rows: Sequence[Row], classes: Sequence[str], title: str) -> Table:
    titles = ["n", "macro AUC", "balanced acc.", *(f"AUC {name}" for name in classes)]
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("model", *titles):
        table.add_column(name, no_wrap=True)
    cells = {(row["model"], row["class"], row["metric"]): row for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        auc, accuracy = cells[model, "macro", "auc"], cells[model, "macro", "balanced_accuracy"]
        per_class = [_figure(cells[model, name, "auc"]["estimate"]) for name in classes]
        table.add_row(model, str(auc["n"]), _with_interval(auc), _with_interval(accuracy), *per_class)
    return table


def _with_interval(row: Row) -> str:
    if row["ci_low"] is None:
        return _figure(row["estimate"])
    return f"{_figure(row['estimate'])} [{_figure(row['ci_low'])}, {_figure(row['ci_high'])}]"


def _figure(value: object) -> str:
    """Shorten a number to two decimals; leave what is not estimable as it is."""
    number = numeric(value)
    return str(value or "") if number is None else f"{number:.2f}"
