"""What can be found about a scan: each finding has a kind and a severity, the same in `check` and `run`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline import store
from pipeline.exclusions import VARIANT, by_variant
from pipeline.tables import read_table, write_table

TABLE = "findings.csv"
COLUMNS = ("patient_id", "phase", "severity", "finding", "reason")
_ONE_BY_ONE = 3
"""Warnings of one kind about more scans than this are printed as one line; the table lists all of them."""
Key = tuple[str, str]
"""(patient_id, phase)."""


class Severity(StrEnum):
    """A scan with an error is left out; one with warnings is used."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """Kind of a finding; many warnings of one kind are printed as one line."""

    COHORT = "cohort table"
    IMAGE = "image"
    SPACING = "spacing"
    HOUNSFIELD = "hounsfield"
    MASK = "mask"
    SLICES = "slices"
    SHARED = "shared pixels"
    CONSTANT = "constant features"
    SHARED_ALLOWED = "shared pixels, allowed"
    PLACE = store.PLACE
    VALUES = "values of the mask"
    RESAMPLED = "mask on another grid"
    OUTSIDE = "part of the mask outside"
    LESIONS = "several lesions"
    PADDING = "padding"
    BEYOND = "voxels beyond the slices used"
    ORGAN = "organ mask"
    ORDER = "order of phases"
    REFERENCE = "reference of the windows"
    RADIOMICS = "radiomics"
    IDENTIFIER = "identifier"
    STRANGER = "file of another patient"

    @property
    def severity(self) -> Severity:
        """Whether a scan with this finding can be used."""
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
"""Found in the cohort table or by comparing scans, and therefore not taken from an earlier run."""


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
    """All findings of a cohort, in order and without duplicates."""

    def __init__(self) -> None:
        self._found: dict[Key, dict[Finding, None]] = {}

    def add(self, key: Key, *findings: Finding) -> None:
        """Add findings about one scan."""
        self._found.setdefault(key, {}).update(dict.fromkeys(findings))

    def __iter__(self) -> Iterator[tuple[Key, Finding]]:
        return ((key, finding) for key, found in self._found.items() for finding in found)

    def write(self, path: Path) -> None:
        """Write the table, one row for each finding, whole or not at all."""
        write_table(path, COLUMNS, (_row(*one) for one in self))


def write_findings_of_variants(
    path: Path, found: Mapping[str, Iterable[tuple[Key, Finding]]], names: Sequence[str]
) -> None:
    """Write the table that variants share, with a column that names the variant of a finding not common to all."""
    rows = ({**_row(*one), VARIANT: name} for name, one in by_variant(found, names))
    write_table(path, (*COLUMNS[:2], VARIANT, *COLUMNS[2:]), rows)


def read_findings(path: Path, variant: str = "") -> tuple[tuple[Key, Finding], ...]:
    """Read what an earlier run found, of a variant where there are some; a missing table is empty."""
    rows = read_table(path) if path.exists() else ()
    return tuple(
        ((row["patient_id"], row["phase"]), Finding(Kind(row["finding"]), row["reason"]))
        for row in rows
        if row.get("finding") in set(Kind) and row.get(VARIANT, "") in ("", variant)
    )


def found_by_reading(
    found: Iterable[tuple[Key, Finding]],
) -> Mapping[str, tuple[tuple[Key, Finding], ...]]:
    """Return the findings that need a scan to be read: patient -> (patient and phase, finding)."""
    by_patient: dict[str, tuple[tuple[Key, Finding], ...]] = {}
    for key, finding in found:
        if finding.kind not in _FOUND_BY_EVERY_RUN:
            by_patient[key[0]] = (*by_patient.get(key[0], ()), (key, finding))
    return by_patient


def _row(key: Key, finding: Finding) -> Mapping[str, object]:
    values = (*key, str(finding.severity), str(finding.kind), finding.reason)
    return dict(zip(COLUMNS, values, strict=True))


def warning_lines(found: Iterable[tuple[Key, Finding]], table: str) -> Iterator[str]:
    """Yield a line per warning, or one line for all warnings of a kind that many scans have.

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
