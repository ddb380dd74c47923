"""Tables that come with data sets: long CSVs of scans or patients, and the covariates that the user named in them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from extract.importers.layout import ImportRequest
from pipeline.cohort_table import Columns, Row, UserTable, read_user_table
from pipeline.covariates import is_missing
from pipeline.errors import CohortError
from pipeline.names import hint_of_nearest

_AGE = re.compile(r"(\d{1,3})([DWMY])")
"""An age as DICOM writes it (AS), such as 062Y."""
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def the_table(request: ImportRequest, given: Path | None, names: Sequence[str]) -> Path:
    """Return the table that the user gave, or the only file in the folder with one of the names.

    Raises:
        CohortError: there is none, or several.
    """
    if given is not None:
        return given
    found = [path for path in request.files if path.name.lower() in names]
    if len(found) != 1:
        told = ", ".join(request.named(path) for path in found) or "none"
        raise CohortError(
            f"{request.folder}: expected one table {' or '.join(names)}, found {told}; say which: table=FILE"
        )
    return found[0]


def read_set_table(
    path: Path, required: Sequence[str], request: ImportRequest, *, paths: Sequence[str] = ()
) -> UserTable:
    """Read a table of a data set.

    Raises:
        CohortError: it lacks a column, or one that the user named as a covariate; or a row cannot be read.
    """
    columns = Columns(tuple(required), paths=frozenset(paths), identifier=required[0])
    table = read_user_table(path, columns, what="table of the data set")
    if table.faults:
        row, problem = table.faults[0]
        raise CohortError(f"{path}: line {row.line}: {problem}")
    known = tuple(table.rows[0].cells)
    for name in request.covariates:
        if name not in known:
            raise CohortError(
                f"--covariates {name!r}: {path} has no such column; {hint_of_nearest(name, known)}"
            )
    return table


def covariates_of(row: Row, request: ImportRequest) -> Mapping[str, str]:
    """Return the covariates that the user named, ages such as 062Y in years."""
    return {name: in_years(row[name]) for name in request.covariates}


def not_taken(table: UserTable, required: Sequence[str], request: ImportRequest) -> tuple[str, ...]:
    """Return the columns that are not read, as nobody named them."""
    return tuple(name for name in table.rows[0].cells if name not in (*required, *request.covariates))


def in_years(cell: str) -> str:
    """Return an age as DICOM writes it in years; any other cell as it is.

    >>> in_years("062Y"), in_years("018M"), in_years("62")
    ('62', '1.5', '62')
    """
    found = _AGE.fullmatch(cell)
    return f"{int(found[1]) / _PER_YEAR[found[2]]:.3g}" if found else cell


def cell_of(row: Row, column: str) -> str:
    """Return a cell, empty where it says that there is nothing, as `NA` does."""
    return "" if is_missing(row[column]) else row[column]


def file_of(cell: str, request: ImportRequest) -> Path | None:
    """Return the file that a cell names: below the folder, or the only one of that name; None where there is none."""
    named = request.files_by_name.get(Path(cell).name, ())
    direct = [path for path in named if path == request.folder / cell]
    chosen = direct or named
    return chosen[0] if len(chosen) == 1 else None
