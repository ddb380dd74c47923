"""The outcome of each patient of a cohort table: read, left out with the reason, or refused; nothing is guessed."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from aggregate.outcomes.outcome import CENSORED, EVENT, Outcome, survival_values
from aggregate.outcomes.section import OutcomeSection, Task
from pipeline.cohort import Cohort, Exclusion, Patient
from pipeline.covariates import Kind, is_missing, read_covariate
from pipeline.errors import CohortError, Mistakes
from pipeline.names import hint_of_nearest

STAGE = "outcome"
"""Stage of the exclusion of a patient without an outcome."""
_EVENT_WORDS = {
    "yes": True,
    "true": True,
    "1": True,
    "1.0": True,
    "no": False,
    "false": False,
    "0": False,
    "0.0": False,
}
Known = Mapping[str, float]
"""Patient -> number, 0 or 1 for the event, or code of the grade; without those of whom it is missing."""


def with_outcomes(cohort: Cohort, section: OutcomeSection, task: Task) -> Cohort:
    """Return the cohort with the group of the outcome as the label of each patient, those without an outcome left out.

    Raises:
        CohortError: a column is missing, or holds what is no outcome; patient and line are named.
        SeveralMistakesError: several of these.
    """
    known = _known(cohort.patients, section, task)
    patients, exclusions = [], list(cohort.exclusions)
    named = {e.patient_id for e in exclusions if not e.phase}
    for patient in cohort.patients:
        lacking = [column for column in section.columns if patient.patient_id not in known[column]]
        if lacking and patient.patient_id not in named:
            cells = " and ".join(
                f"{column!r} is {patient.covariates[column] or 'empty'}" for column in lacking
            )
            exclusions.append(Exclusion(patient.patient_id, "", STAGE, f"no outcome: {cells}"))
        label = None if lacking else _group(patient.patient_id, known, section, task)
        patients.append(replace(patient, label=label))
    return replace(cohort, patients=tuple(patients), exclusions=tuple(exclusions))


def outcome_of(rows: Sequence[Patient], section: OutcomeSection, task: Task) -> Outcome:
    """Return the outcome of the patients of some rows, all of whom have one.

    Raises:
        CohortError: as for `with_outcomes`.
    """
    known = _known(rows, section, task)
    names = [row.patient_id for row in rows]
    numbers = {column: [known[column][name] for name in names] for column in section.columns}
    if task == "survival":
        events = [bool(event) for event in numbers[section.event]]
        return Outcome.of(task, survival_values(events, numbers[section.time]), section)
    dtype = np.intp if task == "ordinal" else np.float64
    return Outcome.of(task, np.array(numbers[section.column], dtype=dtype), section)


def groups_of(section: OutcomeSection, task: Task) -> tuple[str, ...]:
    """Return the groups of patients that an outcome makes, one of which is the label of each."""
    if task == "survival":
        return CENSORED, EVENT
    return section.order if task == "ordinal" else (section.column,)


def _group(patient_id: str, known: Mapping[str, Known], section: OutcomeSection, task: Task) -> str:
    groups = groups_of(section, task)
    if task == "survival":
        return groups[int(known[section.event][patient_id])]
    return groups[int(known[section.column][patient_id])] if task == "ordinal" else groups[0]


def _known(patients: Iterable[Patient], section: OutcomeSection, task: Task) -> Mapping[str, Known]:
    rows = list(patients)
    mistakes, known = Mistakes(), dict[str, Known]()
    for column in section.columns:
        with mistakes.gathered():
            _check_column(column, rows)
            if task == "ordinal":
                known[column] = _grades(column, rows, section.order)
            elif column == section.event:
                known[column] = _events(column, rows, section)
            else:
                known[column] = _numbers(column, rows, must_be_positive=task == "survival")
    mistakes.raise_all()
    return known


def _check_column(column: str, rows: Sequence[Patient]) -> None:
    names = dict.fromkeys(name for row in rows for name in row.covariates)
    if column not in names:
        raise CohortError(
            f"[aggregate.outcome]: {column!r} is no column of the cohort table; {hint_of_nearest(column, names)}"
        )
    _refuse(f"{place(row)}: {row.contradictions[column]}" for row in rows if column in row.contradictions)


def _numbers(column: str, rows: Sequence[Patient], *, must_be_positive: bool) -> Known:
    typed = read_covariate(column, {row.patient_id: row.covariates[column] for row in rows})
    if typed.doubt or typed.kind is not Kind.NUMBER:
        found = typed.doubt or f"its cells are read as {typed.kind.value}"
        raise CohortError(f"column {column!r} ([aggregate.outcome]): expected numbers: {found}")
    expected = "a number above 0" if must_be_positive else "a number"
    by_name = {row.patient_id: row for row in rows}
    known = {name: value for name, value in typed.numbers.items() if value is not None}
    faulty = [*typed.misfits, *(n for n, value in known.items() if must_be_positive and value <= 0)]
    _refuse(_fault(by_name[name], column, expected) for name in faulty)
    return known


def _events(column: str, rows: Sequence[Patient], section: OutcomeSection) -> Known:
    aliases = {word.strip().lower(): what == "yes" for word, what in section.event_aliases.items()}
    words = {**_EVENT_WORDS, **aliases}
    told = _words(column, rows)
    expected = f"one of {', '.join(words)} (more: [aggregate.outcome] event_aliases)"
    _refuse(_fault(row, column, expected) for row in rows if told.get(row.patient_id, "no") not in words)
    return {name: float(words[word]) for name, word in told.items()}


def _grades(column: str, rows: Sequence[Patient], order: Sequence[str]) -> Known:
    codes = {grade.strip().lower(): code for code, grade in enumerate(order)}
    told = _words(column, rows)
    expected = f"one of {', '.join(order)} ([aggregate.outcome] order)"
    _refuse(
        _fault(row, column, expected)
        for row in rows
        if told.get(row.patient_id, order[0].strip().lower()) not in codes
    )
    return {name: float(codes[word]) for name, word in told.items()}


def _words(column: str, rows: Sequence[Patient]) -> Mapping[str, str]:
    cells = {row.patient_id: row.covariates[column].strip() for row in rows}
    return {name: cell.lower() for name, cell in cells.items() if not is_missing(cell)}


def _fault(row: Patient, column: str, expected: str) -> str:
    return f"{place(row)}: expected {expected} in column {column!r}, found {row.covariates[column]!r}"


def place(row: Patient) -> str:
    """Return whom a message is about, with the line of the cohort table."""
    return f"patient {row.patient_id}{f' (line {row.line})' if row.line else ''}"


def _refuse(faults: Iterable[str]) -> None:
    mistakes = Mistakes()
    for fault in faults:
        mistakes.add(CohortError(fault))
    mistakes.raise_all()


def check_horizons(outcome: Outcome, *, least_at_risk: int = 5) -> Iterator[str]:
    """Yield what stands in the way of measuring models at a horizon; nothing where there is nothing.

    Args:
        outcome: of survival.
        least_at_risk: patients who must still be under observation after a horizon, and who must have had the event before.
    """
    times, events = outcome.values["time"], outcome.values["event"]
    for horizon in outcome.section.horizons:
        after, before = int((times > horizon).sum()), int((events & (times <= horizon)).sum())
        if min(after, before) < least_at_risk:
            longest = max(times.tolist(), default=math.nan)
            yield (
                f"horizon {horizon:g}: {before} patients had the event until then, and {after} were observed longer (longest "
                f"time {longest:g}); expected at least {least_at_risk} of each: choose another one in [aggregate.outcome] horizons"
            )
