"""What a layout finds in a folder: rows of the cohort table, decisions with their grounds, files that are not used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pipeline.scan_cells import HeaderOverrides


class Decision(StrEnum):
    """What became of a file, or what is left to do."""

    USED = "used"
    NOT_USED = "not used"
    TO_SET = "to set"
    """For the configuration: `what` is a key with its value, such as `extract.masks.labels.organ=[5]`."""


class How(StrEnum):
    """On what a decision rests."""

    DECIDED = "decided"
    """On what the user said, what the files say, or what the description of the data set says."""
    GUESSED = "guessed"
    """On a likeness, such as a word in a file name or a measurement: to be looked at."""


@dataclass(frozen=True)
class ScanRow:
    """One row of the cohort table: one phase of one patient, or one lesion of it."""

    patient_id: str
    phase: str
    """By its name, such as PVP; not as spelled in the folder."""
    image: Path
    mask: Path | None = None
    label: str = ""
    """As found; spellings are made names when all rows are known."""
    centre: str = ""
    lesion_id: str = ""
    liver_mask: Path | None = None
    mask_label: str = ""
    overrides: HeaderOverrides = field(default_factory=HeaderOverrides)
    covariates: Mapping[str, str] = field(default_factory=dict)
    """Further columns; only those that the user named."""


@dataclass(frozen=True)
class Entry:
    """One row of import_report.csv; an empty patient or phase stands for all of them."""

    what: str
    """What was decided, or why the file is not used."""
    decision: Decision = Decision.USED
    how: How = How.DECIDED
    source: str = ""
    """From what it follows, such as `file name`; the column `from`."""
    patient_id: str = ""
    phase: str = ""
    file: str = ""
    """Relative to the folder, or a name that tells no identity."""
    gist: str = ""
    """What is printed in place of `what` and `source`, where many files have it in common."""


@dataclass(frozen=True)
class Import:
    """All that a layout found.

    Attributes:
        rows: of the cohort table, in the order in which they are written.
        entries: decisions and files that are not used; files that neither a row nor an entry names are listed by the
            frame as no part of the layout.
        accounted: files that rows or entries speak of without naming them, such as the slices of a DICOM series.
        pseudonym: of a layout that replaces identifiers: from one as a table of labels spells it to the one of the rows. No
            file, identifier or pattern of the user is then repeated as it is.
        near: of such a layout: from an identifier as a table of labels spells it to the pseudonym of the one that is almost the same.
        tables: further tables that are written beside the cohort table: file -> rows.
    """

    rows: tuple[ScanRow, ...]
    entries: tuple[Entry, ...] = ()
    accounted: frozenset[Path] = frozenset()
    pseudonym: Callable[[str], str] | None = None
    near: Callable[[str], str | None] | None = None
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)


def not_used(file: str, why: str, *, patient_id: str = "", phase: str = "") -> Entry:
    """Return the entry of a file that is not used; `source` is the file itself."""
    return Entry(why, Decision.NOT_USED, patient_id=patient_id, phase=phase, file=file)


def to_set(key: str, value: str, source: str) -> Entry:
    """Return the entry of a key that the configuration needs, with a value in TOML."""
    return Entry(f"{key}={value}", Decision.TO_SET, source=source)
