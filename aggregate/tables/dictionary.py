"""The dictionary of the result tables: columns.csv of a run, and results/README.md for all of them."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from aggregate.tables.registry import all_tables
from aggregate.tables.results import USUAL_CONFIDENCE, ResultTables, percent
from aggregate.tables.table import Column, Step, Table
from pipeline.tables import TABLES

COLUMNS = Table(
    "columns.csv",
    "file and column",
    (
        Column("file", "File of this folder"),
        Column("column", "Column of the file"),
        Column("meaning", "Meaning of the column"),
        Column("unit", "Unit or range; empty for words and counts from 0"),
    ),
    place=320,
    step=Step.REPORT,
    names_weights=False,
)
ADDED = ("Not a column of phasemil: it was added to the file later", "")


def write_columns(tables: ResultTables) -> None:
    """Write columns.csv: every file and column of the folder, explained.

    The report quotes columns.csv and writes its own tables later, so that these are described before they exist.
    """
    tables.write(COLUMNS, _rows(tables))


def _rows(tables: ResultTables) -> Iterator[Mapping[str, Any]]:
    for table in all_tables():
        comes_later = table.step is Step.REPORT
        if comes_later or tables.holds(table):
            for name in table.header() if comes_later else tables.header(table):
                meaning, unit = tables.explained(table, name) or ADDED
                yield {"file": table.file, "column": name, "meaning": meaning, "unit": unit}


def results_readme() -> str:
    """Return the text of results/README.md."""
    lines = [
        "# The tables of a results folder",
        "",
        "This page is generated from the tables in the code (`python -m aggregate.tables.dictionary` prints it);",
        "each results folder holds the same as `columns.csv`, with its own classes, phases and covariates.",
        "",
        "| in `results/<name>/` | what it is |",
        "|---|---|",
        "| `report.html` | figures, numbers and what they mean, on one page |",
        "| `results.xlsx` | for a spreadsheet: what this is, a row for each patient, a row for each model, what every column means |",
        f"| `{TABLES}/` | the tables below, as CSV |",
        "| `figures/` | every figure as a drawing of its own |",
        "| `run.json` | configuration, seeds, versions, and the SHA-256 of every file of the run |",
        "",
        "Every table is UTF-8 text with a header line; `separator`, `decimal` and `byte_order_mark` in `[aggregate.tables]`",
        "suit other spreadsheets.",
        "The last column, `weights`, names the encoder weights that the row rests on. A number that cannot be had is",
        "`not estimable`, with the reason in the same row. Text that a spreadsheet would run as a formula has a leading",
        "apostrophe.",
    ]
    for table in all_tables():
        lines += ["", f"## {table.file}", "", f"One row per {table.one_row_per}."]
        lines += [table.notes, ""] if table.notes else [""]
        lines += ["| column | meaning | unit |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {_usual(column)} | {column.unit} |" for column in table.columns]
        if table.words:
            lines += ["", f"| {table.words[0]} | meaning |", "|---|---|"]
            lines += [f"| `{name}` | {meaning} |" for name, meaning in table.words[1].items()]
    return "\n".join(lines) + "\n"


def _usual(column: Column) -> str:
    return column.meaning.replace("<confidence>", f"{percent(USUAL_CONFIDENCE)} unless configured otherwise")


if __name__ == "__main__":
    sys.stdout.write(results_readme())
