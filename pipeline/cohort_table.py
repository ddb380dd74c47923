"""Strict reading of a user's table: CSV of any usual separator or encoding, or an Excel workbook.

Nothing is repaired by guessing. A table whose columns are doubtful is refused, naming the line; a single faulty
row is returned as faulty. Every cell stays text.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CohortError
from pipeline.files import MAX_IDENTIFIER_BYTES, path_hint
from pipeline.names import Translation, count_of_rows, folded, nearest
from pipeline.workbooks import is_workbook, read_sheets

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
              (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_SAFE_ID = re.compile(r"^[^\s/\\.\x00-\x1f][^/\\\x00-\x1f]*$")
_RESERVED = frozenset({"zarr.json"})
"""Identifiers whose folder would lie in the place of a file."""
_SAVE_AS = "save it as 'CSV UTF-8' or .xlsx"

Record = tuple[int, Sequence[str]]
"""(line, cells)."""


@dataclass(frozen=True)
class Columns:
    """Required and optional columns of a table; every other column keeps its name."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()
    """Columns with file paths; their Unicode form is kept."""
    identifier: str = "patient_id"


@dataclass(frozen=True)
class Row:
    """One row of a table, all cells as text without surrounding blanks; an absent column is empty."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True)
class UserTable:
    """A table as it was read, with the rows that cannot be read and what was done to the names of columns."""

    rows: tuple[Row, ...]
    faults: tuple[tuple[Row, str], ...] = ()
    """Rows of another length than the header; of these only the identifier can be trusted."""
    translations: tuple[Translation, ...] = ()
    remarks: tuple[str, ...] = ()


def read_user_table(path: Path, columns: Columns, *, what: str) -> UserTable:
    """Read a CSV or .xlsx that a user wrote.

    Args:
        path: the file; its content, not its name, decides how it is read.
        columns: what it must hold.
        what: name of the table in messages, such as "cohort table".

    Raises:
        CohortError: it is missing, not a table, or its columns are doubtful.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CohortError(f"{path}: no such {what}{path_hint(str(path))}") from None
    except OSError as error:
        raise CohortError(f"{path}: expected a CSV table, found: {error.strerror}") from error
    if is_workbook(content):
        records, remarks = _chosen_sheet(path, content, columns)
    else:
        records, remarks = _csv_records(path, _decoded(path, content), columns), ()
    filled = [(line, cells) for line, cells in records if any(cell.strip() for cell in cells)]
    if not filled:
        raise CohortError(f"{path}: expected a header and at least one row, found an empty table")
    table = _table(path, filled, columns)
    return UserTable(table.rows, table.faults, table.translations, (*remarks, *table.remarks))


def column_name(cell: str, columns: Columns) -> str:
    """Return the known column that equals a heading apart from case and blanks, or the heading itself."""
    text = unicodedata.normalize("NFC", " ".join(cell.split()))
    known = folded(text).replace(" ", "_")
    return known if known in (*columns.required, *columns.optional) else text


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith(_OLD_EXCEL):
        raise CohortError(f"{path}: expected a CSV table, found an old Excel workbook (.xls); {_SAVE_AS}")
    encoding = next((name for mark, name in _ENCODINGS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CohortError(
            f"{path}: expected UTF-8 text, found byte 0x{content[error.start]:02x} in line {line} (in the "
            f"Windows-1252 encoding?); {_SAVE_AS}"
        ) from None
    if "\0" in text:
        raise CohortError(
            f"{path}: expected a CSV table, found a binary file, or UTF-16 without a byte order mark; {_SAVE_AS}"
        )
    return text


def _csv_records(path: Path, text: str, columns: Columns) -> list[Record]:
    first, _, rest = text.partition("\n")
    named = first.strip().lower().removeprefix("sep=") if first.lower().startswith("sep=") else None
    if named is not None:
        if len(named) > 1:
            raise CohortError(f"{path}: line 1: expected one separator after 'sep=', found {named!r}")
        # Excel writes this line; of "sep=" and a tab, strip() takes the tab.
        return _split(path, rest, named or "\t", first_line=2)
    found = {sign: _n_known(_heading(text, sign), columns) for sign in SEPARATORS}
    return _split(path, text, max(found, key=lambda sign: found[sign]), first_line=1)


def _heading(text: str, separator: str) -> Sequence[str]:
    """Return the cells of the first line that is not blank, cut at a separator."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return next(csv.reader([first], delimiter=separator), [])


def _n_known(cells: Sequence[str], columns: Columns) -> int:
    return sum(column_name(cell, columns) in columns.required for cell in cells)


def _split(path: Path, text: str, separator: str, *, first_line: int) -> list[Record]:
    """Cut text into records.

    Raises:
        CohortError: a quoted cell is not closed on its line, so that the rows behind it would be lost.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: list[Record] = []
    begin = first_line
    try:
        for cells in reader:
            if any("\n" in cell or "\r" in cell for cell in cells):
                raise csv.Error
            records.append((begin, cells))
            begin = first_line + reader.line_num
    except csv.Error as error:
        if "field larger than" in str(error):
            raise CohortError(
                f"{path}: line {begin}: expected cells of at most {csv.field_size_limit()} characters, found a longer one; shorten it, or "
                "look for a quotation mark that is not closed"
            ) from None
        raise CohortError(
            f"{path}: line {begin}: expected every cell that begins with a quotation mark to end with one on the same "
            'line (within a cell it is doubled: ""), found none; the rows behind it cannot be trusted'
        ) from None
    return records


def _chosen_sheet(path: Path, content: bytes, columns: Columns) -> tuple[list[Record], tuple[str, ...]]:
    """Return the only sheet of a workbook that has the required columns.

    Raises:
        CohortError: several sheets have them, or it cannot be read as a workbook.
    """
    sheets = read_sheets(path, content, {columns.identifier})
    fitting = [name for name, records in sheets.items() if _fits(records, columns)]
    if len(fitting) > 1:
        raise CohortError(
            f"{path}: expected one sheet with the columns of the table, found {', '.join(map(repr, fitting))}"
        )
    name = fitting[0] if fitting else next(iter(sheets), None)
    if name is None:
        return [], ()
    return sheets[name], (f"sheet {name!r} of the workbook is read",) if len(sheets) > 1 else ()


def _fits(records: Sequence[Record], columns: Columns) -> bool:
    header = next((cells for _, cells in records if any(cells)), ())
    return set(columns.required) <= {column_name(cell, columns) for cell in header}


def _table(path: Path, records: Sequence[Record], columns: Columns) -> UserTable:
    (line, header), *body = records
    names = [column_name(cell, columns) for cell in header]
    _check_header(path, line, header, names, columns)
    if not body:
        raise CohortError(f"{path}: expected at least one row, found none")
    rows: list[Row] = []
    faults: list[tuple[Row, str]] = []
    for number, cells in body:
        row = _row(number, names, cells, columns)
        if len(cells) == len(header):
            _check_unnamed(path, number, names, cells)
            rows.append(row)
        else:
            faults.append((row, _wrong_length(len(cells), len(header))))
    if faults and (not rows or names[0] != columns.identifier):
        row, reason = faults[0]
        more = f"; so are {len(faults) - 1} further rows" if len(faults) > 1 else ""
        raise CohortError(f"{path}: line {row.line}: {reason}{more}")
    remarks = [*_recomposed(body, names, columns), *_remarks(names, columns)]
    translations = tuple(
        Translation("column", cell, name, len(body))
        for cell, name in zip(header, names, strict=True)
        if name in (*columns.required, *columns.optional) and cell != name
    )
    return UserTable(tuple(rows), tuple(faults), translations, tuple(remarks))


def _check_header(
    path: Path, line: int, header: Sequence[str], names: Sequence[str], columns: Columns
) -> None:
    said = f"{path}: line {line}"
    twice = [form for form, n in Counter(map(folded, filter(None, names))).items() if n > 1]
    if twice:
        places = [i for i, name in enumerate(names) if folded(name) == twice[0]]
        which = " and ".join(f"{i + 1} ({header[i]!r})" for i in places)
        raise CohortError(f"{said}: columns {which} have the same name; expected every column once")
    missing = [name for name in columns.required if name not in names]
    if missing:
        found = ", ".join(repr(name) for name in names[:12] if name) or "no name"
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        raise CohortError(
            f"{said}: column {missing[0]!r} is missing; expected {', '.join(columns.required)} separated by commas, "
            f"semicolons or tabs, found {found}{more}"
        )


def _row(line: int, names: Sequence[str], cells: Sequence[str], columns: Columns) -> Row:
    pairs = zip(names, cells, strict=False)
    return Row(
        line,
        {
            name: cell.strip() if name in columns.paths else unicodedata.normalize("NFC", cell.strip())
            for name, cell in pairs
            if name
        },
    )


def _check_unnamed(path: Path, line: int, names: Sequence[str], cells: Sequence[str]) -> None:
    for place, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if not name and cell.strip():
            raise CohortError(
                f"{path}: line {line}: column {place + 1} has no name and holds {cell.strip()!r}; expected a name in "
                "the header, or a cell in quotation marks where it holds the separator"
            )


def _wrong_length(n_found: int, n_expected: int) -> str:
    if n_found < n_expected:
        return f"expected {n_expected} cells as in the header, found {n_found}; is the line cut off?"
    return (
        f"expected {n_expected} cells as in the header, found {n_found}; a cell that holds the separator (such as a "
        "decimal comma) must stand in quotation marks"
    )


def _recomposed(body: Sequence[Record], names: Sequence[str], columns: Columns) -> Iterator[str]:
    """Tell whether identifiers were brought into the composed form of Unicode, in which each is one patient."""
    place = names.index(columns.identifier)
    lines = [
        n for n, cells in body if len(cells) > place and not unicodedata.is_normalized("NFC", cells[place])
    ]
    if lines:
        yield (
            f"{columns.identifier}: {count_of_rows(len(lines))} from line {lines[0]} on in decomposed Unicode (NFD), "
            "read as composed (NFC)"
        )


def _remarks(names: Sequence[str], columns: Columns) -> Iterator[str]:
    """Tell which free columns are nearly named like one with a meaning."""
    absent = [name for name in columns.optional if name not in names]
    for name in names:
        if name and name not in (*columns.required, *columns.optional):
            near = nearest(name.replace(" ", "_"), absent, cutoff=0.8)
            if near:
                yield f"column {name!r} is taken for a covariate; for the {near} write {near!r}"


def identifier_problem(patient_id: str) -> str | None:
    """Return why an identifier cannot name the files of a patient; None if it can."""
    if not _SAFE_ID.match(patient_id):
        return f"patient_id {patient_id!r} cannot be a file name; expected no '/', no leading '.', not empty"
    n_bytes = len(patient_id.encode())
    if n_bytes > MAX_IDENTIFIER_BYTES:
        return f"patient_id of {n_bytes} bytes is too long for a file name; expected at most {MAX_IDENTIFIER_BYTES}: shorten it"
    if patient_id.lower() in _RESERVED:
        return f"patient_id {patient_id!r} is the name of a file in the slice store; expected another one"
    unseen = invisible_character(patient_id)
    if unseen:
        return f"patient_id {patient_id!a} holds the invisible character {unseen}; type it anew"
    return None


def invisible_character(text: str) -> str | None:
    """Return the code and name of the first invisible character, such as a zero-width space."""
    for character in text:
        if character != " " and unicodedata.category(character) in ("Cf", "Cc", "Zs", "Zl", "Zp", "Co", "Cn"):
            return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"
    return None
