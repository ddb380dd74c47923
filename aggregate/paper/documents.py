"""Word documents and Markdown of the tables and methods of a paper."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from docx import Document
from docx.document import Document as WordDocument
from docx.enum.section import WD_ORIENT
from docx.shared import Pt
from docx.table import _Cell

from aggregate.report.elements import Table
from aggregate.report.spreadsheet import legal_text
from pipeline.files import written_whole

_WIDE = 7
"""Columns from which a page lies on its side."""


def write_table_document(path: Path, title: str, table: Table, *, written: datetime | None) -> None:
    """Write a table as a Word document: title, table, caption."""
    document = _document(written)
    if len(table.columns) >= _WIDE:
        _turn(document)
    document.add_paragraph().add_run(legal_text(title)).bold = True
    grid = document.add_table(rows=1, cols=len(table.columns), style="Table Grid")
    for place, name in zip(grid.rows[0].cells, table.columns, strict=True):
        _fill(place, name, bold=True)
    for number, row in enumerate(table.rows):
        for place, content in zip(grid.add_row().cells, row, strict=True):
            _fill(place, content, bold=number in table.emphasised)
    document.add_paragraph().add_run(legal_text(table.caption)).font.size = Pt(9)
    _save(document, path)


def write_text_document(
    path: Path, title: str, paragraphs: Sequence[tuple[str, str]], *, written: datetime | None
) -> None:
    """Write headings with a paragraph each as a Word document."""
    document = _document(written)
    document.add_heading(legal_text(title), level=1)
    for heading, content in paragraphs:
        document.add_heading(legal_text(heading), level=2)
        document.add_paragraph(legal_text(content))
    _save(document, path)


def write_markdown(path: Path, title: str, paragraphs: Sequence[tuple[str, str]]) -> None:
    """Write headings with a paragraph each as Markdown."""
    parts = [f"# {title}", *(f"## {heading}\n\n{content}" for heading, content in paragraphs)]
    with written_whole(path) as sibling:
        sibling.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _document(written: datetime | None) -> WordDocument:
    """Return an empty document that names no author, of the time of the run."""
    document = Document()
    properties = document.core_properties
    properties.author, properties.comments, properties.title = "", "", ""
    if written is not None:
        properties.created = properties.modified = written
    document.styles["Normal"].font.size = Pt(10)
    return document


def _turn(document: WordDocument) -> None:
    page = document.sections[0]
    page.orientation = WD_ORIENT.LANDSCAPE
    page.page_width, page.page_height = page.page_height, page.page_width


def _fill(place: _Cell, content: str, *, bold: bool) -> None:
    run = place.paragraphs[0].add_run(legal_text(content))
    run.font.size = Pt(8)
    run.bold = bold


def _save(document: WordDocument, path: Path) -> None:
    with written_whole(path) as sibling:
        document.save(str(sibling))
