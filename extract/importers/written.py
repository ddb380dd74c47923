"""The files of an import: the cohort table, import_report.csv with what was decided and guessed, further tables of a layout."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from extract.importers.found import Decision, Entry, How, Import, ScanRow
from extract.importers.importing import REPORT
from pipeline.cohort_columns import OPTIONAL, REQUIRED
from pipeline.errors import CohortError
from pipeline.files import written_whole
from pipeline.tables import read_table, write_table

REPORT_COLUMNS = ("patient_id", "phase", "file", "decision", "what", "how", "from")
_DIGITS = 8
_ABOUT = "the cohort table of this report"


def refuse_to_overwrite(table: Path, *, overwrite: bool) -> None:
    """Refuse a table that somebody may have corrected by hand, and a report of another table.

    Raises:
        CohortError: one exists, and is not to be overwritten.
    """
    if table.exists() and not overwrite:
        raise CohortError(f"{table}: exists already; give another --out, or --overwrite")
    report = table.with_name(REPORT)
    if report.exists() and not is_report_of(table) and not overwrite:
        raise CohortError(
            f"{report}: the report of another table; give --out in another folder, or --overwrite"
        )
    if table.suffix.lower() != ".csv":
        raise CohortError(f"--out {table}: expected a file that ends in .csv")


def is_report_of(table: Path) -> bool:
    """Whether the report beside a table is that of its import, and not of another table in the same folder."""
    report = table.with_name(REPORT)
    if not report.exists():
        return False
    return any(row["what"] == _ABOUT and row["file"] == table.name for row in read_table(report))


def write_import(found: Import, table: Path, folder: Path) -> Path:
    """Write the cohort table, and the report and the tables of the layout beside it; return the path of the report."""
    columns = _columns(found.rows)
    with written_whole(table) as sibling, sibling.open("w", encoding="utf-8", newline="") as stream:
        # No apostrophe before what a spreadsheet would run: the cells must come back as identifiers and paths.
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_cells(row, table.parent, folder, columns) for row in found.rows)
    for name, rows in found.tables.items():
        write_table(table.with_name(name), tuple(rows[0]), rows)
    report = table.with_name(REPORT)
    about = Entry(_ABOUT, source="the command", file=table.name)
    write_table(report, REPORT_COLUMNS, map(_of_row, (about, *_rows_told(found, folder), *found.entries)))
    return report


def _columns(rows: Iterable[ScanRow]) -> tuple[str, ...]:
    """Return the columns that hold anything, the required ones first."""
    rows = tuple(rows)
    filled = {name for row in rows for name, cell in optional_cells(row).items() if cell}
    covariates = dict.fromkeys(name for row in rows for name in row.covariates)
    paths = {"liver_mask"} if any(row.liver_mask for row in rows) else set()
    return (*REQUIRED, *(name for name in OPTIONAL if name in filled | paths), *covariates)


def optional_cells(row: ScanRow) -> Mapping[str, str]:
    """Return the optional cells of a row but for the path of the liver mask."""
    known = row.overrides
    spacings = zip("xyz", known.spacing_mm, strict=True)
    return {
        "centre": row.centre,
        "lesion_id": row.lesion_id,
        "mask_label": row.mask_label,
        **{f"spacing_{axis}": "" if mm is None else _number(mm) for axis, mm in spacings},
        "flip_z": "yes" if known.flip_z else "",
        "hu_slope": "" if known.hu_slope == 1 else _number(known.hu_slope),
        "hu_intercept": "" if known.hu_intercept == 0 else _number(known.hu_intercept),
    }


def _cells(row: ScanRow, to: Path, folder: Path, columns: tuple[str, ...]) -> dict[str, str]:
    cells = {
        "patient_id": row.patient_id,
        "phase": row.phase,
        "image": _place(row.image, to, folder),
        "mask": _place(row.mask, to, folder) if row.mask else "",
        "label": row.label,
        "liver_mask": _place(row.liver_mask, to, folder) if row.liver_mask else "",
        **optional_cells(row),
        **row.covariates,
    }
    return {name: cell for name, cell in cells.items() if name in columns}


def _place(path: Path, to: Path, folder: Path) -> str:
    """Return a path relative to the table where the scans lie below it, so that both can move; else the whole path."""
    table, scans = to.resolve(), folder.resolve()
    if not scans.is_relative_to(table) and not path.resolve().is_relative_to(table):
        return path.resolve().as_posix()
    return Path(os.path.relpath(path.resolve(), table)).as_posix()


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}"


def _rows_told(found: Import, folder: Path) -> Iterator[Entry]:
    """Yield the entries of the files in the rows."""
    told = {
        (entry.patient_id, entry.phase, entry.file)
        for entry in found.entries
        if entry.decision is Decision.USED
    }
    for row in found.rows:
        files = (
            (row.image, "image"),
            (row.mask, "mask of the tumour"),
            (row.liver_mask, "mask of the organ"),
        )
        for path, what in files:
            if path is None:
                continue
            name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
            if (row.patient_id, row.phase, name) not in told:
                told.add((row.patient_id, row.phase, name))
                yield Entry(what, Decision.USED, How.DECIDED, "the layout", row.patient_id, row.phase, name)


def _of_row(entry: Entry) -> Mapping[str, str]:
    values = (
        entry.patient_id,
        entry.phase,
        entry.file,
        str(entry.decision),
        entry.what,
        str(entry.how),
        entry.source,
    )
    return dict(zip(REPORT_COLUMNS, values, strict=True))
