"""Sheets of an .xlsx workbook: numbers as numbers, nothing runs, and equal content gives equal bytes."""

import io
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from pipeline.files import written_whole

_BOLD = Font(bold=True)
_WARNING = Font(bold=True, color="9A3412")
_WRAPPED = Alignment(vertical="top", wrap_text=True)
_NARROWEST, _WIDEST, _WIDEST_TEXT = 8, 44, 100
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a file in a zip archive; it stands for the time of writing."""
_WRITTEN = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")


@dataclass(frozen=True)
class SheetColumn:
    """A column of a sheet, and how its numbers are shown."""

    name: str
    meaning: str
    """In words, for the dictionary."""
    unit: str = ""
    """Unit or range; empty for words and counts."""
    number_format: str = "0.000"
    """Of its numbers with decimals, as spreadsheets spell it; they keep all their digits."""


@dataclass(frozen=True)
class Sheet:
    """A table with a header that stays in sight."""

    name: str
    columns: Sequence[SheetColumn]
    rows: Sequence[Sequence[object]]
    fixed: int = 0
    """How many columns on the left stay in sight, too."""


@dataclass(frozen=True)
class TextSheet:
    """A sheet to read: a heading and a text in each row."""

    name: str
    title: str
    rows: Sequence[tuple[str, str]]
    warnings: Sequence[str] = ()
    """Stand out above the rows."""


def write_sheets(path: Path, sheets: Sequence[Sheet | TextSheet]) -> None:
    """Write a workbook, whole or not at all; text stays text, also where it looks like a formula."""
    book = Workbook(write_only=True)
    for sheet in sheets:
        if isinstance(sheet, Sheet):
            _add_table(book, sheet)
        else:
            _add_text(book, sheet)
    content = io.BytesIO()
    book.save(content)
    with written_whole(path) as sibling:
        sibling.write_bytes(_without_time(content))


def _add_table(book: Workbook, table: Sheet) -> None:
    sheet = book.create_sheet(table.name)
    sheet.freeze_panes = f"{get_column_letter(table.fixed + 1)}2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(table.columns))}{len(table.rows) + 1}"
    for i, column in enumerate(table.columns):
        longest = max([len(column.name), *(len(_shown(row[i])) for row in table.rows)])
        sheet.column_dimensions[get_column_letter(i + 1)].width = min(_WIDEST, max(_NARROWEST, longest + 2))
    sheet.append([_cell(sheet, column.name, font=_BOLD) for column in table.columns])
    formats = [column.number_format for column in table.columns]
    for row in table.rows:
        sheet.append([_cell(sheet, value, shown=shown) for value, shown in zip(row, formats, strict=True)])


def _add_text(book: Workbook, text: TextSheet) -> None:
    sheet = book.create_sheet(text.name)
    sheet.freeze_panes = "A2"
    sheet.column_dimensions["A"].width = max(len(heading) for heading, _ in text.rows) + 2
    sheet.column_dimensions["B"].width = _WIDEST_TEXT
    sheet.append([_cell(sheet, text.title, font=Font(bold=True, size=14))])
    for warning in text.warnings:
        sheet.append([None, _cell(sheet, warning, font=_WARNING, alignment=_WRAPPED)])
    for heading, words in text.rows:
        sheet.append(
            [_cell(sheet, heading, font=_BOLD, alignment=_WRAPPED), _cell(sheet, words, alignment=_WRAPPED)]
        )


def _cell(
    sheet: WriteOnlyWorksheet,
    value: object,
    *,
    font: Font | None = None,
    alignment: Alignment | None = None,
    shown: str = "General",
) -> Cell | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        value = legal_text(value)
    cell = WriteOnlyCell(sheet, value=value)
    if isinstance(value, str):
        cell.data_type = "s"
    elif isinstance(value, float):
        cell.number_format = shown
    if font is not None:
        cell.font = font
    if alignment is not None:
        cell.alignment = alignment
    return cell


def legal_text(text: str) -> str:
    """Replace the characters that XML, and so a workbook or a document, cannot hold."""
    return str(ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text))


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def _without_time(content: io.BytesIO) -> bytes:
    """Return a workbook with the time of writing taken out, so that the same results are the same file."""
    timeless = io.BytesIO()
    with zipfile.ZipFile(content) as found, zipfile.ZipFile(timeless, "w", zipfile.ZIP_DEFLATED) as kept:
        for name in found.namelist():
            part = found.read(name)
            if name == "docProps/core.xml":
                part = _WRITTEN.sub(rb"\g<1>1980-01-01T00:00:00Z", part)
            kept.writestr(zipfile.ZipInfo(name, _FIRST_DAY), part, zipfile.ZIP_DEFLATED)
    return timeless.getvalue()
