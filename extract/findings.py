"""What can be found about a scan: one kind and one severity for each, told by `check` and `run` in the same words."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.tables import read_table, write_table

TABLE = "findings.csv"
COLUMNS = ("patient_id", "phase", "severity", "finding", "reason")
_ONE_BY_ONE = 3
"""A remark about more scans than this is one line on the screen; the table has them all."""
Key = tuple[str, str]
"""(patient_id, phase)."""


class Severity(StrEnum):
    """A scan with an error is left out; one with warnings is used."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """What is found; remarks of one kind are one line on the screen."""

    COHORT = "cohort table"
    IMAGE = "image"
    SPACING = "spacing"
    HOUNSFIELD = "hounsfield"
    MASK = "mask"
    SLICES = "slices"
    SHARED = "shared pixels"
    CONSTANT = "constant features"
    SHARED_ALLOWED = "shared pixels, allowed"
    PLACE = "place in the header"
    VALUES = "values of the mask"
    RESAMPLED = "mask on another grid"
    OUTSIDE = "part of the mask outside"
    LESIONS = "several lesions"
    PADDING = "padding"
    BEYOND = "voxels beyond the slices used"
    ORGAN = "organ mask"
    ORDER = "order of phases"
    REFERENCE = "reference of the windows"
    IDENTIFIER = "identifier"
    STRANGER = "file of another patient"

    @property
    def severity(self) -> Severity:
        """Whether a scan of which this is found can be used."""
        return Severity.ERROR if self in _ERRORS else Severity.WARNING


_ERRORS = frozenset(
    {
        Kind.COHORT,
        Kind.IMAGE,
        Kind.SPACING,
        Kind.HOUNSFIELD,
        Kind.MASK,
        Kind.SLICES,
        Kind.SHARED,
        Kind.CONSTANT,
    }
)


_FOUND_BY_EVERY_RUN = frozenset(
    {Kind.COHORT, Kind.SHARED, Kind.SHARED_ALLOWED, Kind.IDENTIFIER, Kind.STRANGER}
)
"""Told by the cohort table or by a look across scans, and so not taken from an earlier run."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found about a scan."""

    kind: Kind
    reason: str

    @property
    def severity(self) -> Severity:
        """Whether the scan can be used."""
        return self.kind.severity


def reason_of(findings: Iterable[Finding]) -> str:
    """Return all reasons in one line, errors first."""
    found = tuple(findings)
    errors = [finding.reason for finding in found if finding.severity is Severity.ERROR]
    return "; ".join(dict.fromkeys((*errors, *(f.reason for f in found if f.severity is Severity.WARNING))))


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings for which the scan is left out."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


class FindingLog:
    """Everything found about the scans of a cohort, in order, nothing twice."""

    def __init__(self) -> None:
        self._found: dict[Key, dict[Finding, None]] = {}

    def add(self, key: Key, *findings: Finding) -> None:
        """Note findings about one scan."""
        self._found.setdefault(key, {}).update(dict.fromkeys(findings))

    def __iter__(self) -> Iterator[tuple[Key, Finding]]:
        return ((key, finding) for key, found in self._found.items() for finding in found)

    def write(self, path: Path) -> None:
        """Write the table, one row for each finding, whole or not at all."""
        rows = (
            dict(zip(COLUMNS, (*key, str(f.severity), str(f.kind), f.reason), strict=True)) for key, f in self
        )
        write_table(path, COLUMNS, rows)


def read_findings(path: Path) -> Mapping[str, tuple[tuple[Key, Finding], ...]]:
    """Read what an earlier run found by reading scans: patient -> findings; a missing table is empty."""
    found: dict[str, list[tuple[Key, Finding]]] = {}
    for row in read_table(path) if path.exists() else ():
        if row.get("finding") in set(Kind) - _FOUND_BY_EVERY_RUN:
            key = (row["patient_id"], row["phase"])
            found.setdefault(key[0], []).append((key, Finding(Kind(row["finding"]), row["reason"])))
    return {patient_id: tuple(rows) for patient_id, rows in found.items()}


def warning_lines(found: Iterable[tuple[Key, Finding]], table: str) -> Iterator[str]:
    """Yield a line for each warning, or one for all of a kind where many scans have it.

    Args:
        found: (patient_id, phase) and finding, of all scans.
        table: name of the file that has them all.
    """
    by_kind: dict[Kind, list[tuple[Key, Finding]]] = {}
    for key, finding in found:
        if finding.severity is Severity.WARNING:
            by_kind.setdefault(finding.kind, []).append((key, finding))
    for kind, rows in by_kind.items():
        if len(rows) <= _ONE_BY_ONE:
            yield from (describe_finding(finding.severity, *key, finding.reason) for key, finding in rows)
        else:
            (patient_id, phase), first = rows[0]
            yield (
                f"warning: {len(rows)} scans: {kind}; such as patient {patient_id}, phase {phase}: {first.reason} "
                f"(each in {table})"
            )


def describe_finding(severity: str, patient_id: str, phase: str, reason: str) -> str:
    """Return the line about one scan."""
    return f"{severity}: patient {patient_id}, phase {phase}: {reason}"
