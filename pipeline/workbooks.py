"""Sheets of an Excel workbook (.xlsx) as text, cell by cell; ambiguous cells are refused."""

import io
import warnings
import zipfile
from collections.abc import Collection, Sequence
from datetime import date, datetime, time
from pathlib import Path
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.cell.cell import Cell
from openpyxl.worksheet.worksheet import Worksheet

from pipeline.errors import CohortError

_ZIP = b"PK\x03\x04"
_PLAIN_NUMBERS = ("General", "0", "@")
_DIGITS = 15
"""Digits of a number that Excel keeps; it makes further ones 0."""


def is_workbook(content: bytes) -> bool:
    """Whether the bytes are a zip archive, as .xlsx is."""
    return content.startswith(_ZIP)


def read_sheets(
    path: Path, content: bytes, identifiers: Collection[str]
) -> dict[str, list[tuple[int, Sequence[str]]]]:
    """Read every sheet that holds anything: name -> (row number, cells as text).

    Whole numbers are written without a point, dates in ISO form.

    Args:
        path: for the messages.
        content: the bytes of the file.
        identifiers: columns whose numbers must look in Excel as they are stored: 7 shown as 007 is refused.

    Raises:
        CohortError: the file is damaged, or a cell is ambiguous; row and column are named.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of formats and validations that carry no values
            values = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
            formulas = openpyxl.load_workbook(io.BytesIO(content))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, TypeError, ParseError) as error:
        raise CohortError(
            f"{path}: found a zip archive that is no Excel workbook (.xlsx), or a damaged one ({error}); save the "
            "table as 'CSV UTF-8' or .xlsx"
        ) from None
    found = {s.title: _records(path, s, formulas[s.title], identifiers) for s in values.worksheets}
    return {name: records for name, records in found.items() if records}


def _records(
    path: Path, sheet: Worksheet, formulas: Worksheet, identifiers: Collection[str]
) -> list[tuple[int, Sequence[str]]]:
    records: list[tuple[int, Sequence[str]]] = []
    watched: set[int] = set()
    for row, written in zip(sheet.iter_rows(), formulas.iter_rows(), strict=True):
        for cell, source in zip(row, written, strict=True):
            problem = _problem(cell, source, is_identifier=cell.column in watched)
            if problem:
                raise CohortError(f"{path}: sheet {sheet.title!r}, cell {cell.coordinate}: {problem}")
        cells = [_text(cell.value) for cell in row]
        if any(cells):
            if not records:
                forms = {_form(name) for name in identifiers}
                watched = {i + 1 for i, text in enumerate(cells) if _form(text) in forms}
            records.append((row[0].row, cells))
    return records


def _form(text: str) -> str:
    return "_".join(text.lower().split())


def _problem(cell: Cell, source: Cell, *, is_identifier: bool) -> str | None:
    if source.data_type == "f" and cell.value is None:
        return "a formula without a value; open and save the workbook in Excel, or paste the values"
    is_number = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    if not (is_identifier and is_number):
        return None
    # No message repeats an identifier.
    if cell.number_format not in _PLAIN_NUMBERS:
        return (
            f"an identifier that is a number, shown in the format {cell.number_format!r} and stored without it; write identifiers "
            "as text"
        )
    if abs(cell.value) >= 10**_DIGITS:
        return f"an identifier that is a number of more than {_DIGITS} digits, whose last ones Excel has lost; write identifiers as text"
    return None


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime() if value.time() == time(0):
            return value.date().isoformat()
        case datetime() | date() | time():
            return value.isoformat()
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
