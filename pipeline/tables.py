"""Result tables: UTF-8 CSV with fixed columns, fixed number format and cells no spreadsheet will run.

They are read back strictly, also after a spreadsheet has saved them again with a byte order mark, another line end,
another separator or decimal commas; what can be read in two ways is refused with its line.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from pipeline.errors import ResultsError
from pipeline.files import written_whole

TABLES = "tables"
"""Folder of a results folder that holds the tables of stage 2; both stages know it by this name."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class TableStyle:
    """How a CSV is written: `,` and `.` everywhere, or `;` and `,` for spreadsheets of such a locale."""

    separator: str = ","
    decimal: str = "."
    digits: int = 6
    byte_order_mark: bool = False
    """Whether the file begins with one, by which Excel knows that it is UTF-8; it is read either way."""


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, style: TableStyle | None = None
) -> None:
    """Write rows as CSV, whole or not at all, in the order given.

    Floats get `style.digits` decimals and never a negative zero, None and NaN an empty cell; text that a spreadsheet would run as a formula
    gets a leading apostrophe.

    Raises:
        ResultsError: a row has a column that is not in `columns`, or lacks one that is.
    """
    style = style or TableStyle()
    encoding = "utf-8-sig" if style.byte_order_mark else "utf-8"
    with written_whole(path) as sibling, sibling.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(_Lines(stream), delimiter=style.separator)
        writer.writerow([format_cell(name, style) for name in columns])
        for row in rows:
            if set(row) != set(columns):
                odd = sorted(set(row) ^ set(columns))
                raise ResultsError(f"{path}: columns {', '.join(odd)} are missing or not expected")
            writer.writerow([format_cell(row[column], style) for column in columns])


class _Lines:
    """Ends each line with a line feed alone; told so itself, `csv` would not quote a carriage return in a text."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, line: str) -> None:
        self.stream.write(line.removesuffix("\r\n") + "\n")


def format_cell(value: object, style: TableStyle) -> str:
    """Format one value as the text of a CSV cell."""
    if isinstance(value, np.floating):
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:z.{style.digits}f}".replace(".", style.decimal)
    text = str(value)
    return f"'{text}" if isinstance(value, str) and _would_run(text) else text


@dataclass(frozen=True)
class Line:
    """One row of a table that was read.

    Attributes:
        number: line of the file on which the row ends, the header being line 1.
        cells: column -> text.
    """

    number: int
    cells: dict[str, str]


def read_table(path: Path, *, style: TableStyle | None = None) -> list[dict[str, str]]:
    """Read a CSV that `write_table` wrote, every cell as text and the apostrophes of formulas taken off.

    Raises:
        ResultsError: as of `read_lines`; later, when a cell is asked for whose column the table lacks.
    """
    return [Cells(path, line.cells) for line in read_lines(path, style=style)]


def read_columns(path: Path, *, style: TableStyle | None = None) -> list[str]:
    """Read the column names of a CSV that `write_table` wrote.

    Raises:
        ResultsError: the file is missing or empty.
    """
    _, header = next(_raw_rows(path, style or TableStyle()), (0, None))
    if header is None:
        raise ResultsError(f"{path}: no such table: the file is empty")
    return _names(path, header)


def read_lines(path: Path, *, style: TableStyle | None = None) -> list[Line]:
    """Read a CSV with the line of each row; rows without any text, as spreadsheets leave them, are passed over.

    The separator is that of `style` where it splits the header, or else whichever of `,`, `;` and the tab does.

    Raises:
        ResultsError: the file is missing, no UTF-8 text or no CSV, names a column twice, or has a row that is
            longer or shorter than the header; the line is named.
    """
    rows = _raw_rows(path, style or TableStyle())
    _, header = next(rows, (0, []))
    names = _names(path, header)
    lines = []
    for number, row in rows:
        if not any(row):
            continue
        found = len(row)
        while found > len(names) and not row[found - 1]:
            found -= 1
        if found != len(names):
            start = ", ".join(row[:3])
            raise ResultsError(
                f"{path}, line {number}: expected {len(names)} cells as in the header, found {found} ({start} ...)"
            )
        lines.append(Line(number, dict(zip(names, map(_bare, row), strict=False))))
    return lines


def number_in(cell: str) -> float | None:
    """Return the finite number in a cell, written with a decimal point or a decimal comma; None for anything else.

    Of both signs at once, as in "1.234,5", nothing can be told.
    """
    try:
        value = float(cell.replace(",", ".") if "." not in cell else cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole_number_in(cell: str) -> int | None:
    """Return the whole number in a cell, also where a program wrote it as "0.0"; None for anything else."""
    value = number_in(cell)
    return int(value) if value is not None and value.is_integer() else None


def _raw_rows(path: Path, style: TableStyle) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row, the header first."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such table") from None
    except OSError as error:
        raise ResultsError(f"{path}: expected a CSV table, found: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: expected UTF-8 text; save it again as CSV UTF-8: {error}") from None
    separators = dict.fromkeys((style.separator, ",", ";", "\t"))
    head = re.split(r"[\r\n]", text, maxsplit=1)[0]
    splits = (s for s in separators if len(next(csv.reader([head], delimiter=s), ())) > 1)
    separator = next(splits, style.separator)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ResultsError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def _names(path: Path, header: Sequence[str]) -> list[str]:
    names = [_bare(name) for name in header]
    while names and not names[-1]:
        names.pop()
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ResultsError(f"{path}: expected every column once, found {twice[0]!r} twice")
    return names


def _would_run(text: str) -> bool:
    """Say whether a spreadsheet would run a text; one that has apostrophes before it gets another, so as to come back."""
    return text.lstrip("'").startswith(_FORMULA_STARTS)


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _would_run(cell) else cell


class Cells(dict[str, str]):
    """One row of a table: column -> text. A column that the table lacks is an error that names file and column."""

    def __init__(self, path: Path, cells: Mapping[str, str]) -> None:
        super().__init__(cells)
        self.path = path

    def __missing__(self, column: str) -> str:
        found = ", ".join(self) or "none"
        raise ResultsError(f"{self.path}: expected a column {column!r}, found {found}")
