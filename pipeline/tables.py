"""Result tables: UTF-8 CSV with fixed columns, fixed number format and cells no spreadsheet will run."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ResultsError
from pipeline.files import written_whole

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class TableStyle:
    """How a CSV is written: `,` and `.` everywhere, or `;` and `,` for spreadsheets of such a locale."""

    separator: str = ","
    decimal: str = "."
    digits: int = 6
    stamp: Mapping[str, str] = field(default_factory=dict)
    """Constant columns at the end of every row, such as the weights that the numbers rest on."""


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
    with written_whole(path) as sibling, sibling.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=style.separator, lineterminator="\n")
        writer.writerow([format_cell(name, style) for name in (*columns, *style.stamp)])
        for row in rows:
            if set(row) != set(columns):
                odd = sorted(set(row) ^ set(columns))
                raise ResultsError(f"{path}: columns {', '.join(odd)} are missing or not expected")
            cells = [*(row[column] for column in columns), *style.stamp.values()]
            writer.writerow([format_cell(cell, style) for cell in cells])


def format_cell(value: object, style: TableStyle) -> str:
    """Format one value as the text of a CSV cell."""
    if isinstance(value, np.floating):
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:z.{style.digits}f}".replace(".", style.decimal)
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text


def read_table(path: Path, *, style: TableStyle | None = None) -> list[dict[str, str]]:
    """Read a CSV that `write_table` wrote, every cell as text and the apostrophes of formulas taken off.

    Raises:
        ResultsError: the file is missing; later, when a cell is asked for whose column the table lacks.
    """
    style = style or TableStyle()
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=style.separator))
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such table") from None
    return [Cells(path, {_bare(key): _bare(cell) for key, cell in row.items()}) for row in rows]


def read_columns(path: Path, *, style: TableStyle | None = None) -> list[str]:
    """Read the column names of a CSV that `write_table` wrote.

    Raises:
        ResultsError: the file is missing or empty.
    """
    style = style or TableStyle()
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [_bare(name) for name in next(csv.reader(stream, delimiter=style.separator))]
    except (FileNotFoundError, StopIteration):
        raise ResultsError(f"{path}: no such table") from None


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


class Cells(dict[str, str]):
    """One row of a table: column -> text. A column that the table lacks is an error that names file and column."""

    def __init__(self, path: Path, cells: Mapping[str, str]) -> None:
        super().__init__(cells)
        self.path = path

    def __missing__(self, column: str) -> str:
        found = ", ".join(self) or "none"
        raise ResultsError(f"{self.path}: expected a column {column!r}, found {found}")
