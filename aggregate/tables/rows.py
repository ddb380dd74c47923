"""Rows of a table: typed values, made into text when a file is written, and made of text when it is read."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aggregate.statistics.intervals import NOT_ESTIMABLE, Estimate
from aggregate.tables.table import Kind, Table
from pipeline.errors import ResultsError
from pipeline.tables import Line, number_in, whole_number_in

SMALLEST_P_VALUE = 0.0001
"""The smallest p-value that a table shows: never zero."""
BELOW_SMALLEST = math.nextafter(SMALLEST_P_VALUE, 0)
"""What "<0.0001" is read as: the largest number that it may stand for."""
ALL = "all"
"""Stands for the number of a repeat or fold in a row over all of them."""
_YES_NO: Mapping[str, bool] = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class Row(dict[str, Any]):
    """One row that was read: column -> value. A column that the table lacks is an error that names file and column."""

    def __init__(self, path: Path, line: int, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path
        self.line = line

    def __missing__(self, column: str) -> Any:  # noqa: ANN401 - it never returns
        found = ", ".join(self) or "none"
        raise ResultsError(
            f"{self.path}: expected a column {column!r}, found {found}; of an earlier release, `aggregate.py tables` on the results folder makes the tables anew"
        )

    def require(self, column: str, table: Table) -> None:
        """Refuse an empty cell in a column of a table.

        Raises:
            ResultsError: the line is named.
        """
        what = table.column(column)
        if self[column] is None and what is not None:
            raise self.fault(f"expected {what.kind.value} in {column}, found nothing")

    def fault(self, problem: str) -> ResultsError:
        """Return the error that names this row."""
        patient = f", patient {self['patient_id']!r}" if "patient_id" in self else ""
        return ResultsError(f"{self.path}, line {self.line}{patient}: {problem}")


def read_row(path: Path, line: Line, kinds: Mapping[str, Kind]) -> Row:
    """Make values of the text of a row; a column without a kind stays text.

    Raises:
        ResultsError: a cell does not hold what its column holds; the line is named.
    """
    row = Row(path, line.number, line.cells)
    for column, cell in line.cells.items():
        kind = kinds.get(column, Kind.TEXT)
        if kind is Kind.TEXT:
            continue
        value = _VALUES[kind](cell) if cell else None
        if cell and value is None:
            raise row.fault(f"expected {kind.value} in {column}, found {cell!r}")
        row[column] = value
    return row


def printable(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as they are written: text, whole numbers, finite numbers and None."""
    kinds: dict[str, Kind] = {}
    written = []
    for row in rows:
        for name in row.keys() - kinds.keys():
            column = table.column(name)
            kinds[name] = column.kind if column else Kind.TEXT
        written.append({name: _printable(value, kinds[name]) for name, value in row.items()})
    return written


def _printable(value: Any, kind: Kind) -> Any:  # noqa: ANN401 - whatever a row holds
    if kind is Kind.YES_NO and value is not None:
        return "yes" if value else "no"
    number = numeric(value)
    if number is None:
        return value if isinstance(value, str) else None
    if kind is Kind.P_VALUE and number < SMALLEST_P_VALUE:
        return f"<{SMALLEST_P_VALUE}"
    return value


def numeric(value: object) -> float | None:
    """Return a value as a number, or None where it is empty, not finite or "not estimable"."""
    if value is None or isinstance(value, str):
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None


def _count(cell: str) -> int | None:
    value = whole_number_in(cell)
    return value if value is not None and value >= 0 else None


def _probability(cell: str) -> float | None:
    value = number_in(cell)
    return value if value is not None and 0 <= value <= 1 else None


def _estimate(cell: str) -> float | str | None:
    return NOT_ESTIMABLE if cell == NOT_ESTIMABLE else number_in(cell)


def _p_value(cell: str) -> float | str | None:
    return BELOW_SMALLEST if cell == f"<{SMALLEST_P_VALUE}" else _estimate(cell)


_VALUES: Mapping[Kind, Callable[[str], Any]] = {
    Kind.COUNT: _count,
    Kind.COUNT_OR_ALL: lambda cell: ALL if cell == ALL else _count(cell),
    Kind.NUMBER: number_in,
    Kind.PROBABILITY: _probability,
    Kind.ESTIMATE: _estimate,
    Kind.P_VALUE: _p_value,
    Kind.YES_NO: lambda cell: _YES_NO.get(cell.lower()),
}


def or_not_estimable(value: float | None) -> float | str:
    """Return the number, or the words that stand where there is none."""
    return NOT_ESTIMABLE if value is None else value


def interval_cells(estimate: Estimate, *, name: str = "estimate") -> Mapping[str, float | str]:
    """Return the cells `name`, ci_low, ci_high and ci_method; the last gives the reason for a missing number."""
    return {
        name: or_not_estimable(estimate.value),
        "ci_low": or_not_estimable(estimate.low),
        "ci_high": or_not_estimable(estimate.high),
        "ci_method": estimate.method,
    }
