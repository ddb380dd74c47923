"""The cohort table (contract 1): a CSV or .xlsx with one row per patient and phase.

Columns `patient_id, phase, image, mask, label` are required (a mask or label may be empty). Optional:
`centre, lesion_id, liver_mask, mask_label, spacing_x, spacing_y, spacing_z, flip_z, hu_slope, hu_intercept`. Any
other column is a covariate. Every cell is read as text first, so that patient "007" stays "007". Paths are relative
to the table. Several rows of one patient and phase are allowed when `lesion_id` tells them apart: one mask per
lesion of the same image. In the place of `liver_mask` stands the column that [cohort] organ_mask names.

A table without the columns phase, image and mask, such as one of patient_id and label, is one of patients alone: stage 2 reads
it beside bags that lie there already.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.cohort_columns import (
    COLUMNS,
    OPTIONAL,
    OVERRIDES,
    REQUIRED,
    is_of_patients_alone,
    without_label,
    without_scans,
)
from pipeline.cohort_table import Columns, Row, UserTable, identifier_problem, read_user_table
from pipeline.config import CohortSection
from pipeline.covariates import is_missing
from pipeline.errors import CohortError
from pipeline.files import with_home
from pipeline.names import Translation, Vocabulary, count_of_rows, label_vocabulary, phase_vocabulary
from pipeline.scan_cells import HeaderOverrides, mask_label_of, overrides_of

_ORGAN = "liver_mask"
_OF_SCAN = (_ORGAN, *OVERRIDES)
"""Columns that describe a scan: the rows of its lesions must agree in them; empty cells are ignored."""

STAGES = ("cohort", "label")
"""Values of `stage` of exclusions caused by the cohort table: an unusable row, an unknown label."""
NO_PHASE = "(none)"
"""Written as the phase of an excluded row without a phase; an empty phase means the whole patient."""

ONLY_ROW = ""
"""In place of a phase, of the rows of a table of patients alone."""


@dataclass(frozen=True)
class Scan:
    """One phase of one patient: an image and the masks of its lesions."""

    patient_id: str
    phase: str
    image: Path
    masks: tuple[tuple[str, Path], ...]
    """(lesion_id, path) per mask; empty where none was given."""
    liver_mask: Path | None = None
    overrides: HeaderOverrides = field(default_factory=HeaderOverrides)
    line: int = 0
    """Line of the cohort table, the header being line 1."""
    mask_labels: tuple[tuple[int, ...], ...] = ()
    """For each mask, the values that mark its lesion; empty where the table does not give them."""
    phase_given: str = ""
    """The phase as spelled in the table."""


@dataclass(frozen=True)
class Patient:
    """One patient: the scans by phase, the label, the centre and the covariates."""

    patient_id: str
    scans: Mapping[str, Scan]
    label: str | None
    """A class of the configuration, or None where the cell is empty or unknown."""
    centre: str | None = None
    covariates: Mapping[str, str] = field(default_factory=dict)
    """Every further column; empty where the rows are empty or disagree."""
    contradictions: Mapping[str, str] = field(default_factory=dict)
    """Further columns in which the rows of the patient disagree -> their values."""
    label_given: str = ""
    """The label as spelled in the table."""
    line: int = 0
    """Line of the first row."""


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
    translations: tuple[Translation, ...] = ()
    """Every spelling that was translated to a name."""
    remarks: tuple[str, ...] = ()
    """Other decisions made while reading the table."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Notes for the user on how the table was read, one line each."""
        return (*map(str, self.translations), *self.remarks)


def read_cohort(section: CohortSection, *, needs_scans: bool = True, has_labels: bool = True) -> Cohort:
    """Read the cohort table named in the configuration.

    A row that cannot be used (another length than the header, unknown phase, duplicate, unsafe identifier,
    unreadable override) becomes an exclusion; the other rows are used.

    Args:
        section: [cohort].
        needs_scans: whether a table of patients alone is refused.
        has_labels: False where no class is predicted: the column `label` may be absent, and is a covariate.

    Raises:
        CohortError: the table is missing, empty or of another kind, lacks a required column, its columns cannot be
            trusted, or a spelling in it is ambiguous.
    """
    columns = _columns(section) if has_labels else without_label(_columns(section))
    what = "cohort table ([cohort] table of the configuration)"
    has_scans = needs_scans or not is_of_patients_alone(section.table, has_labels=has_labels)
    table = read_user_table(section.table, columns if has_scans else without_scans(columns), what=what)
    table = _with_organ(section, table) if has_scans else table
    return cohort_of(section, table, has_scans=has_scans, has_labels=has_labels)


def cohort_of(
    section: CohortSection, table: UserTable, *, has_scans: bool = True, has_labels: bool = True
) -> Cohort:
    """Return the cohort of a table that was read; the organ's mask stands in its column `liver_mask`.

    Args:
        section: [cohort].
        table: the rows.
        has_scans: whether it is no table of patients alone.
        has_labels: whether its column of labels is read.

    Raises:
        CohortError: a spelling in it is ambiguous.
    """
    phases, labels = phase_vocabulary(section), label_vocabulary(section) if has_labels else None
    vocabularies = (phases,) if labels is None else (phases, labels)
    _refuse_ambiguous(section.table, table, vocabularies)
    exclusions = [_excluded(row, problem) for row, problem in table.faults]
    grouped: dict[str, dict[str, list[Row]]] = {}
    for row in table.rows:
        problem = identifier_problem(row["patient_id"])
        if has_scans and not problem:
            problem = _scan_problem(row, phases)
        phase = phases.find(row["phase"]) if has_scans else ONLY_ROW
        if problem or phase is None:
            exclusions.append(_excluded(row, problem or ""))
        else:
            grouped.setdefault(row["patient_id"], {}).setdefault(phase, []).append(row)
    patients = [_patient(section, labels, by_phase, exclusions) for by_phase in grouped.values()]
    lost = {e.patient_id for e in exclusions if not e.phase and e.stage == "cohort"}
    kept = tuple(p for p in patients if p.scans or (not has_scans and p.patient_id not in lost))
    translations = (*table.translations, *(line for v in vocabularies for line in _translations(table, v)))
    return Cohort(kept, (*exclusions, *_lost(table, kept, exclusions)), translations, table.remarks)


def _columns(section: CohortSection) -> Columns:
    """Return the columns with that of the organ's mask under the name that the configuration gives it.

    Raises:
        CohortError: the name is that of another column.
    """
    organ = section.organ_mask
    if organ == _ORGAN:
        return COLUMNS
    optional = tuple(name for name in OPTIONAL if name != _ORGAN)
    if organ in (*REQUIRED, *optional):
        raise CohortError(
            f"[cohort] organ_mask = {organ!r}: expected a column of its own, such as 'kidney_mask'"
        )
    return Columns(REQUIRED, (*optional, organ), COLUMNS.paths - {_ORGAN} | {organ})


def _with_organ(section: CohortSection, table: UserTable) -> UserTable:
    """Return the table with the mask of the organ in the column `liver_mask`; a mask of the liver beside it goes.

    Raises:
        CohortError: the table lacks the column that the configuration names.
    """
    organ = section.organ_mask
    if organ == _ORGAN:
        return table
    first = next(iter(table.rows), None)
    if first is not None and organ not in first.cells:
        raise CohortError(
            f"{section.table}: expected the column {organ!r} ([cohort] organ_mask), found {', '.join(first.cells)}"
        )

    def renamed(row: Row) -> Row:
        cells = {name: cell for name, cell in row.cells.items() if name not in (_ORGAN, organ)}
        return Row(row.line, {**cells, _ORGAN: row[organ]})

    return replace(table, rows=tuple(map(renamed, table.rows)))


def _excluded(row: Row, problem: str) -> Exclusion:
    reason = f"line {row.line}: {problem}"
    return Exclusion(row["patient_id"], row["phase"] or NO_PHASE, "cohort", reason)


def _lost(table: UserTable, kept: Sequence[Patient], exclusions: Sequence[Exclusion]) -> list[Exclusion]:
    """Name the patients of whom no row is left."""
    named = {patient.patient_id for patient in kept} | {e.patient_id for e in exclusions if not e.phase}
    rows = [*table.rows, *(row for row, _ in table.faults)]
    lost = dict.fromkeys(row["patient_id"] for row in rows if row["patient_id"] not in named)
    return [Exclusion(p, "", "cohort", "no row of this patient can be used") for p in lost if p]


def _refuse_ambiguous(path: Path, table: UserTable, vocabularies: Sequence[Vocabulary]) -> None:
    """Refuse spellings that mean two things.

    Raises:
        CohortError: every such spelling is named with its first line.
    """
    doubts: dict[str, list[int]] = {}
    for row in table.rows:
        for vocabulary in vocabularies:
            doubt = vocabulary.doubt(row[vocabulary.what])
            if doubt:
                doubts.setdefault(doubt, []).append(row.line)
    if doubts:
        said = (f"line {lines[0]}: {doubt} ({count_of_rows(len(lines))})" for doubt, lines in doubts.items())
        raise CohortError(f"{path}: {'; '.join(said)}")


def _translations(table: UserTable, vocabulary: Vocabulary) -> list[Translation]:
    given = Counter(row[vocabulary.what] for row in table.rows)
    found = ((text, vocabulary.find(text), n) for text, n in given.items())
    return [Translation(vocabulary.what, text, name, n) for text, name, n in found if name and name != text]


def _scan_problem(row: Row, phases: Vocabulary) -> str | None:
    if phases.find(row["phase"]) is None:
        return phases.problem(row["phase"])
    if not row["image"]:
        return "the image cell is empty"
    try:
        overrides_of(row)
        mask_label_of(row)
    except ValueError as error:
        return str(error)
    return None


def _patient(
    section: CohortSection,
    labels: Vocabulary | None,
    by_phase: Mapping[str, Sequence[Row]],
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
    label, problem = (None, None) if labels is None else _label(rows, labels)
    if problem:
        exclusions.append(Exclusion(patient_id, "", "label", problem))
    own = {*REQUIRED, *OPTIONAL} - (set() if labels is not None else {"label"})
    said = {name: _unanimous(rows, name) for name in first.cells if name not in own}
    return Patient(
        patient_id=patient_id,
        scans=scans,
        label=label,
        centre=centre or None,
        covariates={name: value for name, (value, _) in said.items()},
        contradictions={name: problem for name, (_, problem) in said.items() if problem},
        label_given=" / ".join(dict.fromkeys(row["label"] for row in rows if row["label"])),
        line=min(row.line for row in rows),
    )


def _ambiguity(rows: Sequence[Row]) -> str | None:
    if len(rows) < 2:
        return None
    lines = ", ".join(str(row.line) for row in rows)
    if len({row["image"] for row in rows}) > 1 or len({row["lesion_id"] for row in rows}) < len(rows):
        return (
            f"lines {lines} name the same patient and phase; expected one row, or rows with the same image and "
            "different lesion_id"
        )
    return _contradiction(rows)


def _contradiction(rows: Sequence[Row]) -> str | None:
    """Return how the rows of one scan disagree in what holds for the scan and not for a lesion."""
    problems = (_unanimous(rows, column)[1] for column in _OF_SCAN)
    return next((problem.replace("of one patient", "of one scan") for problem in problems if problem), None)


def _unanimous(rows: Sequence[Row], column: str) -> tuple[str, str | None]:
    """Return what the rows of one patient say in a column (empty cells say nothing), and how they disagree."""
    found = {row[column]: row.line for row in reversed(rows) if row[column]}
    if len(found) > 1 and column not in OPTIONAL:
        found = {value: line for value, line in found.items() if not is_missing(value)} or found
    if len(found) < 2:
        return next(iter(found), ""), None
    said = ", ".join(f"{value!r} (line {line})" for value, line in sorted(found.items()))
    return "", f"column {column!r} says {said} of one patient; expected one value"


def _label(rows: Sequence[Row], labels: Vocabulary) -> tuple[str | None, str | None]:
    found = dict.fromkeys(row["label"] for row in rows if row["label"])
    if not found:
        return None, None
    unknown = [text for text in found if labels.find(text) is None]
    if unknown:
        return None, labels.problem(unknown[0])
    classes = {labels.find(text) or "" for text in found}
    if len(classes) > 1:
        return None, f"several labels for one patient: {', '.join(sorted(classes))}"
    return classes.pop(), None


def _scan(folder: Path, phase: str, rows: Sequence[Row]) -> Scan:
    first = Row(rows[0].line, {**rows[0].cells, **{name: _unanimous(rows, name)[0] for name in _OF_SCAN}})
    return Scan(
        patient_id=first["patient_id"],
        phase=phase,
        image=_path(folder, first["image"]),
        masks=tuple((row["lesion_id"], _path(folder, row["mask"])) for row in rows if row["mask"]),
        liver_mask=_path(folder, first["liver_mask"]) if first["liver_mask"] else None,
        mask_labels=tuple(mask_label_of(row) for row in rows if row["mask"]),
        overrides=overrides_of(first),
        line=first.line,
        phase_given=first["phase"],
    )


def _path(folder: Path, cell: str) -> Path:
    """Return the file that a cell names, relative to the table."""
    return folder / with_home(cell)
