"""The .xlsx twins of the tables that clinicians open: the same cells, numbers as numbers, nothing runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from pipeline.files import written_whole

_BOLD = Font(bold=True)
_WIDEST = 40
COLUMNS_SHEET = "columns"


def write_workbook(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    explained: Sequence[tuple[str, str, str]],
) -> None:
    """Write rows as a workbook, whole or not at all, in the order given, and a sheet that explains the columns.

    Numbers keep their digits and are shown with three; text stays text, also where it looks like a formula.

    Args:
        path: of the workbook.
        columns: in their order.
        rows: column -> value.
        explained: (column, meaning, unit), the rows of the second sheet.
    """
    table = [[row[column] for column in columns] for row in rows]
    book = Workbook(write_only=True)
    _add_sheet(book, path.stem[:31], columns, table)
    _add_sheet(book, COLUMNS_SHEET, ("column", "meaning", "unit"), explained)
    with written_whole(path) as sibling:
        book.save(sibling)


def _add_sheet(book: Workbook, name: str, columns: Sequence[str], table: Sequence[Sequence[object]]) -> None:
    sheet = book.create_sheet(name)
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{len(table) + 1}"
    for i, name in enumerate(columns):
        longest = max([len(name), *(len(_shown(row[i])) for row in table)])
        sheet.column_dimensions[get_column_letter(i + 1)].width = min(_WIDEST, longest + 2)
    sheet.append([_cell(sheet, name, font=_BOLD) for name in columns])
    for row in table:
        sheet.append([_cell(sheet, value) for value in row])


def _cell(sheet: WriteOnlyWorksheet, value: object, *, font: Font | None = None) -> Cell | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        value = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)
    cell = WriteOnlyCell(sheet, value=value)
    if isinstance(value, str):
        cell.data_type = "s"
    elif isinstance(value, float):
        cell.number_format = "0.000"
    if font is not None:
        cell.font = font
    return cell


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
