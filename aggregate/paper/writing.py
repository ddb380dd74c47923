"""The folder `paper` of a results folder, made from its tables whenever these are written."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import matplotlib as mpl

from aggregate.drawing import STYLE
from aggregate.paper.declared import banners
from aggregate.paper.documents import write_markdown, write_table_document, write_text_document
from aggregate.paper.journal_figures import CONFUSIONS, ROC, figures_of
from aggregate.paper.methods import methods_of
from aggregate.paper.numbered_tables import ALL_TABLES, tables_of
from aggregate.report.elements import Table
from aggregate.report.folder import ResultsFolder
from aggregate.report.page import write_figure
from pipeline.tables import write_table

PAPER = "paper"
METHODS = "methods"
PAPER_FILES = (
    *(f"{PAPER}/{name}{ending}" for name in ALL_TABLES for ending in (".csv", ".docx")),
    *(f"{PAPER}/{name}{ending}" for name in (ROC, CONFUSIONS) for ending in (".svg", ".png")),
    *(f"{PAPER}/{METHODS}{ending}" for ending in (".md", ".docx")),
)
"""Every file that may be in the folder, by its path in the results folder."""


def write_paper(results: Path) -> None:
    """Write the tables, figures and methods for a paper from the tables of a results folder.

    Needs only the folder, as the report does. Files of the same names that an earlier command left there are removed.

    Raises:
        ResultsError: the folder has no run.json, or a table does not fit.
    """
    folder, paper = ResultsFolder(results), results / PAPER
    for name in PAPER_FILES:
        (results / name).unlink(missing_ok=True)
    paper.mkdir(exist_ok=True)
    warning, written = ", ".join(banners(folder)), _written(folder.run)
    for name, table in tables_of(folder).items():
        _write_csv(folder, paper / f"{name}.csv", table, warning)
        write_table_document(paper / f"{name}.docx", _title(name, warning), table, written=written)
    paragraphs = list(methods_of(folder))
    with mpl.rc_context(STYLE):
        for figure in figures_of(folder):
            write_figure(figure, paper, folder.figures)
            paragraphs.append((_title(figure.name, ""), figure.caption))
    title = f"{warning}: methods" if warning else "Methods"
    write_markdown(paper / f"{METHODS}.md", title, paragraphs)
    write_text_document(paper / f"{METHODS}.docx", title, paragraphs, written=written)


def _write_csv(folder: ResultsFolder, path: Path, table: Table, warning: str) -> None:
    """Write a table as it is printed; a warning stands in its first heading, where it cannot be cut off."""
    columns = [f"{warning}: {table.columns[0]}" if warning else table.columns[0], *table.columns[1:]]
    rows = (dict(zip(columns, row, strict=True)) for row in table.rows)
    write_table(path, columns, rows, style=folder.tables.style)


def _title(name: str, warning: str) -> str:
    """Return the title of a file: table_1_characteristics is "Table 1: characteristics"."""
    what, number, *rest = name.split("_")
    title = f"{what.capitalize()} {number}: {' '.join(rest)}"
    return f"{title} ({warning})" if warning else title


def _written(run: Mapping[str, object]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(run.get("created_utc")))
    except ValueError:
        return None
