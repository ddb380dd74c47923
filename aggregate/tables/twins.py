"""A table and its .xlsx twin, which holds the same rows and explains its columns."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aggregate.tables.catalogue import CATALOGUE, WITHOUT_TWIN, meanings_of
from aggregate.tables.workbook import write_workbook
from pipeline.tables import TableStyle, write_table

SUFFIX = ".xlsx"
_ENTRIES = {entry.file: entry for entry in CATALOGUE}
Names = Mapping[str, Sequence[str]]
"""What `class`, `phase` and `covariate` stand for in the columns of the catalogue."""


def write_with_twin(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    style: TableStyle | None = None,
    names: Names | None = None,
) -> None:
    """Write rows as CSV, and as a workbook too where the table is for clinicians."""
    kept = list(rows)
    write_table(path, columns, kept, style=style)
    write_twin(path, columns, kept, style=style, names=names)


def write_twin(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    style: TableStyle | None = None,
    names: Names | None = None,
) -> None:
    """Write the workbook that stands beside a CSV; a table for programs has none."""
    if path.name not in WITHOUT_TWIN:
        entry = _ENTRIES[path.name]
        explained = [
            (column, *meanings_of(entry, names or {})[column])
            for column in (*columns, *(style or TableStyle()).stamp)
        ]
        column, words = entry.words or ("", {})
        explained += [(f"{column} = {word}", meaning, "") for word, meaning in words.items()]
        write_workbook(path.with_suffix(SUFFIX), columns, rows, explained, style=style)
