"""The cohort table (contract 1): a CSV with one row per patient and phase.

Columns `patient_id, phase, image, mask, label` are required (a mask or label may be empty). Optional:
`centre, lesion_id, liver_mask, spacing_x, spacing_y, spacing_z, flip_z, hu_slope, hu_intercept`. Any other
column is a covariate. Every cell is read as text first, so that patient "007" stays "007". Paths are relative
to the table. Several rows of one patient and phase are allowed when `lesion_id` tells them apart: one mask per
lesion of the same image.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from pipeline.config import CohortSection
from pipeline.errors import CohortError
from pipeline.files import MAX_IDENTIFIER_BYTES

REQUIRED = ("patient_id", "phase", "image", "mask", "label")
OVERRIDES = ("spacing_x", "spacing_y", "spacing_z", "flip_z", "hu_slope", "hu_intercept")
OPTIONAL = ("centre", "lesion_id", "liver_mask", *OVERRIDES)

STAGES = ("cohort", "label")
"""The `stage` of an exclusion by the table itself: a row that cannot be used, or a label nobody knows."""

PHASE_ALIASES = {
    "NC": ("nc", "dry", "plain", "native", "precontrast", "pre", "c-pre", "p", "0000", "non-contrast"),
    "AP": ("ap", "art", "arterial", "c1", "a", "c+a", "0001"),
    "PVP": ("pvp", "pv", "ven", "venous", "portal", "portal venous", "c2", "c+v", "0002"),
    "DP": ("dp", "del", "delay", "delayed", "c3", "c+delay", "late", "0003"),
}
"""Spellings found in public multiphasic liver datasets (PLC-CECT, WAW-TACE, AMPLIFAI, LLD-MMRI, nnU-Net)."""
LABEL_ALIASES = {
    "HCC": ("hcc",),
    "iCCA": ("icca", "icc", "cca", "imcc"),
    "cHCC-CCA": ("chcc-cca", "chcc-cc", "chcc", "chc", "chcc-icca", "mixed"),
}

_SAFE_ID = re.compile(r"^[^\s/\\.\x00-\x1f][^/\\\x00-\x1f]*$")


@dataclass(frozen=True)
class HeaderOverrides:
    """Values that replace what a wrong image header says; None keeps the header's."""

    spacing_mm: tuple[float | None, float | None, float | None] = (None, None, None)
    """Along x, y, z of the stored array."""
    flip_z: bool = False
    """The array is stored superior first although its header says otherwise."""
    hu_slope: float = 1.0
    hu_intercept: float = 0.0


@dataclass(frozen=True)
class Scan:
    """One phase of one patient: an image and the masks of its lesions."""

    patient_id: str
    phase: str
    image: Path
    masks: tuple[tuple[str, Path], ...]
    """(lesion_id, path) per mask; empty where none was given."""
    liver_mask: Path | None = None
    overrides: HeaderOverrides = HeaderOverrides()
    line: int = 0
    """Line of the cohort table, the header being line 1."""


@dataclass(frozen=True)
class Patient:
    """One patient: the scans by phase, and what the table says beside them."""

    patient_id: str
    scans: Mapping[str, Scan]
    label: str | None
    """A class of the configuration, or None where the cell is empty or unknown."""
    centre: str | None = None
    covariates: Mapping[str, str] = field(default_factory=dict)
    """Every further column; empty where the rows say nothing, or not the same."""
    contradictions: Mapping[str, str] = field(default_factory=dict)
    """Further columns in which the rows disagree, as columns of single scans may, and how."""


@dataclass(frozen=True)
class Exclusion:
    """Why a patient, or one phase of it, is not used. `phase` is empty for a whole patient."""

    patient_id: str
    phase: str
    stage: str
    reason: str


@dataclass(frozen=True)
class Cohort:
    """All patients in order of their first row, and the rows that could not be used."""

    patients: tuple[Patient, ...]
    exclusions: tuple[Exclusion, ...]


@dataclass(frozen=True)
class _Row:
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def read_cohort(section: CohortSection) -> Cohort:
    """Read the cohort table named in the configuration.

    A row that cannot be used (unknown phase, duplicate, unsafe identifier, unreadable override) becomes an
    exclusion and the others go on.

    Raises:
        CohortError: the table is missing, empty, not UTF-8 text, or lacks a required column.
    """
    rows = _read_rows(section.table)
    phases = _alias_table(section.phases, PHASE_ALIASES, section.phase_aliases)
    labels = _alias_table(section.classes, LABEL_ALIASES, section.label_aliases)
    exclusions: list[Exclusion] = []
    grouped: dict[str, dict[str, list[_Row]]] = {}
    for row in rows:
        problem = _row_problem(row, phases)
        if problem:
            exclusions.append(
                Exclusion(row["patient_id"], row["phase"], "cohort", f"line {row.line}: {problem}")
            )
            continue
        phase = phases[row["phase"].lower()]
        grouped.setdefault(row["patient_id"], {}).setdefault(phase, []).append(row)
    patients = [_patient(section, labels, by_phase, exclusions) for by_phase in grouped.values()]
    kept = tuple(patient for patient in patients if patient.scans)
    named = {patient.patient_id for patient in kept} | {e.patient_id for e in exclusions if not e.phase}
    lost = dict.fromkeys(row["patient_id"] for row in rows if row["patient_id"] not in named)
    reason = "no row of this patient can be used"
    return Cohort(kept, (*exclusions, *(Exclusion(patient_id, "", "cohort", reason) for patient_id in lost)))


def _read_rows(table: Path) -> list[_Row]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CohortError(
            f"{table}: no such cohort table; the configuration names it under [cohort] table"
        ) from None
    except OSError as error:
        raise CohortError(f"{table}: expected a CSV table, found: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CohortError(f"{table}: expected UTF-8 text: {error}") from error
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter, restkey="")
    missing = [column for column in REQUIRED if column not in (reader.fieldnames or ())]
    if missing:
        raise CohortError(f"{table}: column {missing[0]!r} is missing; expected {', '.join(REQUIRED)}")
    rows = [_Row(reader.line_num, {k: (v or "").strip() for k, v in cells.items() if k}) for cells in reader]
    if not rows:
        raise CohortError(f"{table}: expected at least one row, found none")
    return rows


def _alias_table(
    names: Sequence[str], built_in: Mapping[str, Sequence[str]], given: Mapping[str, str]
) -> Mapping[str, str]:
    table = {alias: name for name in names for alias in built_in.get(name, ())}
    table |= {name.lower(): name for name in names}
    for alias, name in given.items():
        if name not in names:
            raise CohortError(f"alias {alias!r} leads to {name!r}; expected one of {', '.join(names)}")
        table[alias.lower()] = name
    return table


def _row_problem(row: _Row, phases: Mapping[str, str]) -> str | None:
    if not _SAFE_ID.match(row["patient_id"]):
        return (
            f"patient_id {row['patient_id']!r} cannot name a file; expected no '/', no leading '.', not empty"
        )
    n_bytes = len(row["patient_id"].encode())
    if n_bytes > MAX_IDENTIFIER_BYTES:
        return f"patient_id of {n_bytes} bytes cannot name a file; expected at most {MAX_IDENTIFIER_BYTES}: shorten it"
    if row["phase"].lower() not in phases:
        known = ", ".join(dict.fromkeys(phases.values()))
        return (
            f"unknown phase {row['phase']!r}; expected one of {known}, or an alias in [cohort.phase_aliases]"
        )
    if not row["image"]:
        return "the image cell is empty"
    try:
        _overrides(row)
    except ValueError as error:
        return str(error)
    return None


def _patient(
    section: CohortSection,
    labels: Mapping[str, str],
    by_phase: Mapping[str, Sequence[_Row]],
    exclusions: list[Exclusion],
) -> Patient:
    first = next(iter(by_phase.values()))[0]
    patient_id = first["patient_id"]
    rows = [row for phase_rows in by_phase.values() for row in phase_rows]
    scans: dict[str, Scan] = {}
    for phase in section.phases:
        phase_rows = by_phase.get(phase, ())
        problem = _ambiguity(phase_rows)
        if problem:
            exclusions.append(Exclusion(patient_id, phase, "cohort", problem))
        elif phase_rows:
            scans[phase] = _scan(section.table.parent, phase, phase_rows)
    centre, problem = _unanimous(rows, "centre")
    if problem:
        exclusions.append(Exclusion(patient_id, "", "cohort", problem))
        scans = {}
    label, problem = _label(rows, labels)
    if problem:
        exclusions.append(Exclusion(patient_id, "", "label", problem))
    said = {name: _unanimous(rows, name) for name in first.cells if name not in (*REQUIRED, *OPTIONAL)}
    return Patient(
        patient_id=patient_id,
        scans=scans,
        label=label,
        centre=centre or None,
        covariates={name: value for name, (value, _) in said.items()},
        contradictions={name: problem for name, (_, problem) in said.items() if problem},
    )


def _ambiguity(rows: Sequence[_Row]) -> str | None:
    if len(rows) < 2:
        return None
    lines = ", ".join(str(row.line) for row in rows)
    if len({row["image"] for row in rows}) > 1 or len({row["lesion_id"] for row in rows}) < len(rows):
        return (
            f"lines {lines} name the same patient and phase; expected one row, or rows with the same image and "
            "different lesion_id"
        )
    return None


def _unanimous(rows: Sequence[_Row], column: str) -> tuple[str, str | None]:
    """Return what the rows of one patient say in a column (empty cells say nothing), and how they disagree."""
    found = {row[column]: row.line for row in reversed(rows) if row[column]}
    if len(found) < 2:
        return next(iter(found), ""), None
    said = ", ".join(f"{value!r} (line {line})" for value, line in sorted(found.items()))
    return "", f"column {column!r} says {said} of one patient; expected one value"


def _label(rows: Sequence[_Row], labels: Mapping[str, str]) -> tuple[str | None, str | None]:
    found = dict.fromkeys(row["label"] for row in rows if row["label"])
    if not found:
        return None, None
    unknown = [text for text in found if text.lower() not in labels]
    if unknown:
        expected = ", ".join(dict.fromkeys(labels.values()))
        return (
            None,
            f"unknown label {unknown[0]!r}; expected one of {expected}, or an alias in [cohort.label_aliases]",
        )
    classes = {labels[text.lower()] for text in found}
    if len(classes) > 1:
        return None, f"several labels for one patient: {', '.join(sorted(classes))}"
    return classes.pop(), None


def _scan(folder: Path, phase: str, rows: Sequence[_Row]) -> Scan:
    first = rows[0]
    return Scan(
        patient_id=first["patient_id"],
        phase=phase,
        image=folder / first["image"],
        masks=tuple((row["lesion_id"], folder / row["mask"]) for row in rows if row["mask"]),
        liver_mask=folder / first["liver_mask"] if first["liver_mask"] else None,
        overrides=_overrides(first),
        line=first.line,
    )


def _overrides(row: _Row) -> HeaderOverrides:
    def number(column: str) -> float | None:
        try:
            value = float(row[column]) if row[column] else None
        except ValueError:
            raise ValueError(f"{column} {row[column]!r} is not a number") from None
        if value is not None and not (isfinite(value) and (value > 0 or column == "hu_intercept")):
            raise ValueError(
                f"{column} {row[column]!r}; expected a finite number, above 0 but for hu_intercept"
            )
        return value

    slope, intercept = number("hu_slope"), number("hu_intercept")
    flip = row["flip_z"].lower()
    if flip not in ("", "0", "1", "no", "yes", "false", "true"):
        raise ValueError(f"flip_z {row['flip_z']!r}; expected yes or no")
    return HeaderOverrides(
        spacing_mm=(number("spacing_x"), number("spacing_y"), number("spacing_z")),
        flip_z=flip in ("1", "yes", "true"),
        hu_slope=1.0 if slope is None else slope,
        hu_intercept=0.0 if intercept is None else intercept,
    )
