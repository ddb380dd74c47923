"""True spacings that the user gives: one for all, or a table with one row per scan."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cohort_table import Columns, read_user_table
from pipeline.errors import CohortError

AXES = ("spacing_x", "spacing_y", "spacing_z")
HEADER = "header"
Spacing = tuple[float | None, float | None, float | None]
_COLUMNS = Columns(("patient_id", "phase", *AXES))


@dataclass(frozen=True)
class Spacings:
    """Spacings along x, y and z of the stored array, in mm."""

    for_all: Spacing = (None, None, None)
    by_scan: Mapping[tuple[str, str], Spacing] = field(default_factory=dict)
    """(patient_id, phase as written) -> spacing."""
    source: str = ""

    def of(self, patient_id: str, phase: str, spelling: str) -> Spacing:
        """Return the spacing of a scan, whose phase the table may give by name or as the data set spells it.

        Raises:
            CohortError: the table has no row for the scan.
        """
        if not self.by_scan:
            return self.for_all
        found = self.by_scan.get((patient_id, phase)) or self.by_scan.get((patient_id, spelling))
        if found is None:
            raise CohortError(f"{self.source}: no row for patient {patient_id}, phase {phase}")
        return found


def read_spacings(text: str) -> Spacings:
    """Read what the user gave: nothing, `header`, three numbers, or a table.

    Raises:
        CohortError: it is none of these, or a number is none.
    """
    if text in ("", HEADER):
        return Spacings()
    if Path(text).suffix.lower() in (".csv", ".xlsx"):
        return _read_table(Path(text))
    return Spacings(_numbers(text.split(","), f"spacing={text}"), source="the command")


def _read_table(path: Path) -> Spacings:
    table = read_user_table(path, _COLUMNS, what="table of spacings")
    if table.faults:
        row, problem = table.faults[0]
        raise CohortError(f"{path}: line {row.line}: {problem}")
    rows = dict[tuple[str, str], Spacing]()
    for row in table.rows:
        scan = (row["patient_id"], row["phase"])
        spacing = _numbers([row[axis] for axis in AXES], f"{path}: line {row.line}")
        if rows.setdefault(scan, spacing) != spacing:
            raise CohortError(
                f"{path}: line {row.line}: another spacing of patient {scan[0]}, phase {scan[1]}, than above; expected one"
            )
    return Spacings(by_scan=rows, source=path.name)


def _numbers(texts: list[str], where: str) -> Spacing:
    try:
        x, y, z = (float(text) for text in texts)
    except ValueError:
        x = y = z = 0.0
    if not all(0 < mm < math.inf for mm in (x, y, z)):
        raise CohortError(f"{where}: expected three numbers above 0 in mm, found {', '.join(texts)}")
    return x, y, z
