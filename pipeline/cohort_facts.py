"""What a cohort table holds: phases, classes, centres, masks and covariates, for a configuration that fits it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cohort import Patient, read_cohort
from pipeline.cohort_columns import COLUMNS, is_of_patients_alone, without_scans
from pipeline.cohort_table import Row, read_user_table
from pipeline.config import CohortSection
from pipeline.covariates import Kind, read_covariate
from pipeline.errors import CohortError, Mistakes
from pipeline.names import Vocabulary, count_of_rows
from pipeline.spellings import Spellings

PROPOSED = "?"
"""At the end of a phase that an import proposed and nobody has confirmed."""
_AT_MOST_WORDS = 10
"""Different words of a category that is still one; more of them are a free text or an identifier."""


@dataclass(frozen=True)
class CohortFacts:
    """A cohort table, counted.

    Attributes:
        section: [cohort] of a configuration that reads it.
        n_patients: with at least one scan.
        phases: name -> patients with it.
        masks: name of a phase -> patients with a mask of the tumour on it.
        unmasked_scans: name of a phase -> patients of the classes of the section with a scan of it, and no mask on it.
        n_misplaced: scans whose spacing or direction the table corrects, so that their headers do not say where they lie.
        n_organs: scans with a mask of the organ.
        n_scans: scans.
        classes: name -> patients, in the order of the section.
        unmasked: class -> patients, of classes without any mask of a tumour, where others have one; they are no classes of
            the section.
        n_unlabelled: patients without a label.
        centres: name -> patients; empty where the table has none.
        covariates: columns that can be used.
        left_out: other columns and why.
        spellings: what was read as another word.
        n_proposed: rows whose phase waits for a human.
        n_unusable: rows that cannot be used.
    """

    section: CohortSection
    n_patients: int
    phases: Mapping[str, int]
    masks: Mapping[str, int]
    unmasked_scans: Mapping[str, int]
    n_misplaced: int
    n_organs: int
    n_scans: int
    classes: Mapping[str, int]
    unmasked: Mapping[str, int]
    n_unlabelled: int
    centres: Mapping[str, int]
    covariates: tuple[str, ...]
    left_out: Mapping[str, str]
    spellings: tuple[str, ...]
    n_proposed: int
    n_unusable: int


def read_facts(table: Path, spellings: Spellings, *, phases: Sequence[str] = ()) -> CohortFacts:
    """Read a cohort table for which there is no configuration yet.

    Spellings that mean one thing everywhere get the usual names; others are phases and classes of their own.

    Args:
        table: the cohort table.
        spellings: known ones, and those that the user gave.
        phases: of the bags, for a table of patients alone; without them such a table is refused.

    Raises:
        CohortError: the table cannot be read, holds no scan, or a spelling is ambiguous; all of them are named.
    """
    section = section_of(table, spellings, phases=phases)
    cohort = read_cohort(section, needs_scans=not phases)
    patients = cohort.patients
    sizes = {name: sum(p.label == name for p in patients) for name in section.classes}
    masked = {p.label for p in patients if any(scan.masks for scan in p.scans.values())}
    unmasked = {name: n for name, n in sizes.items() if n and name not in masked}
    left = tuple(name for name in section.classes if name not in unmasked)
    if len(left) > 1 and masked:
        section = section.model_copy(update={"classes": left})
    else:
        unmasked = {}
    if not patients:
        what = "patient" if phases else "scan"
        raise CohortError(f"{table}: expected at least one {what}, found none that can be used")
    covariates, left_out = _covariates(patients)
    scans = [scan for patient in patients for scan in patient.scans.values()]
    of_classes = [
        scan for patient in patients if patient.label not in unmasked for scan in patient.scans.values()
    ]
    return CohortFacts(
        section=section,
        n_patients=len(patients),
        phases={phase: sum(phase in p.scans for p in patients) for phase in section.phases},
        masks={
            phase: sum(scan.phase == phase and bool(scan.masks) for scan in scans) for phase in section.phases
        },
        unmasked_scans={
            phase: sum(scan.phase == phase and not scan.masks for scan in of_classes)
            for phase in section.phases
        },
        n_misplaced=sum(scan.overrides.flip_z or any(scan.overrides.spacing_mm) for scan in scans),
        n_organs=sum(scan.liver_mask is not None for scan in scans),
        n_scans=len(scans),
        classes={name: sizes[name] for name in section.classes},
        unmasked=unmasked,
        n_unlabelled=sum(p.label is None for p in patients),
        centres=dict(Counter(p.centre for p in patients if p.centre)),
        covariates=covariates,
        left_out=left_out,
        spellings=tuple(map(str, cohort.translations)),
        n_proposed=sum(e.phase.endswith(PROPOSED) for e in cohort.exclusions),
        n_unusable=sum(e.stage == "cohort" and e.phase != "" for e in cohort.exclusions),
    )


def section_of(table: Path, spellings: Spellings, *, phases: Sequence[str] = ()) -> CohortSection:
    """Return [cohort] with the phases and classes of a table, the usual ones first.

    Args:
        table: the cohort table.
        spellings: known ones, and those that the user gave.
        phases: for a table of patients alone; without them such a table is refused.

    Raises:
        CohortError: the table cannot be read, or a spelling is ambiguous; all of them are named.
    """
    is_alone = bool(phases) and is_of_patients_alone(table)
    rows = read_user_table(table, without_scans(COLUMNS) if is_alone else COLUMNS, what="cohort table").rows
    mistakes = Mistakes()
    confirmed = (row["phase"] for row in rows if not row["phase"].endswith(PROPOSED))
    named = list(phases) if is_alone else _names(confirmed, spellings.phases, spellings, mistakes)
    classes = _names((row["label"] for row in rows), spellings.classes, spellings, mistakes)
    mistakes.raise_all()
    if not named:
        raise CohortError(f"{table}: expected at least one confirmed phase, found none")
    usual = CohortSection(table=table).classes
    return CohortSection(
        table=table,
        phases=tuple(named),
        # A configuration has two classes; a table with one of the usual three gets these.
        classes=tuple(classes) if len(classes) > 1 or not set(classes) <= set(usual) else usual,
        phase_aliases=_given(rows, "phase", spellings.phases, spellings),
        label_aliases=_given(rows, "label", spellings.classes, spellings),
    )


def _names(
    texts: Iterable[str], vocabulary: Vocabulary, spellings: Spellings, mistakes: Mistakes
) -> list[str]:
    found: dict[str, None] = {}
    for text, n in Counter(filter(None, texts)).items():
        question = spellings.question(vocabulary, text)
        if question:
            mistakes.add(CohortError(f"{question} ({count_of_rows(n)})"))
        found[vocabulary.find(text) or text] = None
    return [
        *(name for name in vocabulary.names if name in found),
        *(n for n in found if n not in vocabulary.names),
    ]


def _given(
    rows: Sequence[Row], column: str, vocabulary: Vocabulary, spellings: Spellings
) -> Mapping[str, str]:
    """Return the spellings of a column whose meaning the user gave."""
    texts = dict.fromkeys(row[column] for row in rows if spellings.ground(row[column], ""))
    return {text: name for text in texts if (name := vocabulary.find(text)) and name != text}


def _covariates(patients: Sequence[Patient]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the columns that can be covariates, and the others with the reason."""
    used, left_out = list[str](), dict[str, str]()
    for name in patients[0].covariates:
        column = read_covariate(name, {p.patient_id: p.covariates[name] for p in patients})
        why = column.doubt
        if not why and len(column.levels) < 2:
            why = "one value for all"
        if not why and column.kind is Kind.CATEGORY and len(column.levels) > _AT_MOST_WORDS:
            why = f"{len(column.levels)} different words"
        if why:
            left_out[name] = why
        else:
            used.append(name)
    return tuple(used), left_out
