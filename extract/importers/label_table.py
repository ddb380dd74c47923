"""A table of labels (CSV or .xlsx), joined to the patients that were found; every non-match is named on both sides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract.importers.found import Decision, Entry, ScanRow, not_used
from extract.importers.patients import near_matches
from pipeline.cohort_columns import OPTIONAL, REQUIRED
from pipeline.cohort_table import Columns, Row, read_user_table
from pipeline.errors import CohortError, Mistakes
from pipeline.spellings import Spellings

CENTRE = "centre"


@dataclass(frozen=True)
class LabelTable:
    """Where the labels stand.

    Attributes:
        path: the table.
        identifier: its column of the patients.
        label: its column of the classes; None where only covariates are taken.
        covariates: further columns to take; `centre` becomes the centre.
    """

    path: Path
    identifier: str
    label: str | None = None
    covariates: tuple[str, ...] = ()


def refuse_reserved(covariates: Iterable[str]) -> None:
    """Refuse covariates whose names have another meaning in the cohort table.

    Raises:
        CohortError: one does.
    """
    taken = [name for name in covariates if name in (*REQUIRED, *OPTIONAL) and name != CENTRE]
    if taken:
        raise CohortError(
            f"--covariates: {taken[0]!r} has a meaning of its own in the cohort table; rename that column"
        )


def join_labels(
    rows: Sequence[ScanRow], table: LabelTable, spellings: Spellings
) -> tuple[tuple[ScanRow, ...], tuple[Entry, ...]]:
    """Give every row the label and the covariates that the table has for its patient.

    Returns:
        the rows, and the entries of the join: patients without a row of the table, and rows without a patient.

    Raises:
        CohortError: the table lacks a column or contradicts itself or the folder; all such patients are named.
    """
    by_patient = _by_patient(table, spellings)
    mistakes = Mistakes()
    joined = []
    for row in rows:
        with mistakes.gathered():
            joined.append(
                _joined(row, by_patient[row.patient_id], table) if row.patient_id in by_patient else row
            )
    mistakes.raise_all()
    return tuple(joined), (
        *_used(rows, by_patient, table),
        *_without_match(rows, by_patient, table, spellings),
    )


def _by_patient(table: LabelTable, spellings: Spellings) -> Mapping[str, Row]:
    wanted = tuple(filter(None, (table.identifier, table.label, *table.covariates)))
    columns = Columns(tuple(dict.fromkeys(wanted)), identifier=table.identifier)
    read = read_user_table(table.path, columns, what="table of labels (--labels)")
    mistakes, found = Mistakes(), dict[str, Row]()
    for row, problem in read.faults:
        mistakes.add(CohortError(f"{table.path}: line {row.line}: {problem}"))
    for row in read.rows:
        patient = spellings.patient(row[table.identifier])
        first = found.setdefault(patient, row)
        differs = [name for name in wanted[1:] if first[name] != row[name]]
        if not patient:
            mistakes.add(
                CohortError(f"{table.path}: line {row.line}: the cell {table.identifier!r} is empty")
            )
        elif differs:
            mistakes.add(CohortError(
                f"{table.path}: lines {first.line} and {row.line} say {first[differs[0]]!r} and {row[differs[0]]!r} in "
                f"{differs[0]!r} of patient {patient}; expected one value"
            ))  # fmt: skip
    mistakes.raise_all()
    return found


def _joined(row: ScanRow, of_table: Row, table: LabelTable) -> ScanRow:
    label = of_table[table.label] if table.label else ""
    if row.label and label and row.label != label:
        raise CohortError(
            f"patient {row.patient_id}: {table.path} says {label!r}, the folder says {row.label!r}; expected one label"
        )
    values = {name: of_table[name] for name in table.covariates}
    return replace(
        row,
        label=label or row.label,
        centre=values.pop(CENTRE, row.centre),
        covariates={**row.covariates, **values},
    )


def _used(rows: Sequence[ScanRow], by_patient: Mapping[str, Row], table: LabelTable) -> list[Entry]:
    taken = ", ".join(filter(None, (table.label, *table.covariates)))
    return [
        Entry(
            f"line {by_patient[patient].line} gives {taken}",
            source=f"column {table.identifier!r}",
            patient_id=patient,
            file=table.path.name,
        )
        for patient in dict.fromkeys(row.patient_id for row in rows)
        if patient in by_patient
    ]


def _near(
    no_scan: Sequence[str],
    others: Sequence[str],
    by_patient: Mapping[str, Row],
    table: LabelTable,
    spellings: Spellings,
) -> Mapping[str, str]:
    """Return patients without a scan with the one of others whose identifier is almost the same."""
    if spellings.near is None:
        return near_matches(no_scan, others)
    found = {patient: spellings.near(by_patient[patient][table.identifier]) for patient in no_scan}
    return {patient: other for patient, other in found.items() if other is not None and other in others}


def _without_match(
    rows: Sequence[ScanRow], by_patient: Mapping[str, Row], table: LabelTable, spellings: Spellings
) -> list[Entry]:
    patients = list(dict.fromkeys(row.patient_id for row in rows))
    no_row = [patient for patient in patients if patient not in by_patient]
    no_scan = [patient for patient in by_patient if patient not in set(patients)]
    near = _near(no_scan, no_row, by_patient, table, spellings)
    told = {folder: written for written, folder in near.items()}
    labelled = [patient for patient in patients if patient in by_patient]
    twice = _near(no_scan, labelled, by_patient, table, spellings)
    return [
        *(
            Entry(
                f"no row of the table names this patient: no label{_hint(told.get(patient), patient, spellings)}",
                Decision.USED,
                source="the table of labels",
                patient_id=patient,
                file=table.path.name,
            )
            for patient in no_row
        ),
        *(
            not_used(
                table.path.name,
                f"line {by_patient[patient].line}: no scan of this patient{_hint(patient, near.get(patient), spellings)}"
                f"{_hint_of_two(twice.get(patient), by_patient)}",
                patient_id=patient,
            )
            for patient in no_scan
        ),
    ]


def _hint_of_two(labelled: str | None, by_patient: Mapping[str, Row]) -> str:
    """Say that a row without a scan is almost that of a patient who has a row already."""
    if labelled is None:
        return ""
    return (
        f"; it differs from {labelled!r} of line {by_patient[labelled].line} in case, zeros or separators only: which of the two rows "
        "is that of the scan?"
    )


def _hint(written: str | None, folder: str | None, spellings: Spellings) -> str:
    if not (written and folder):
        return ""
    if spellings.pseudonym:
        return (
            f"; {written} of the table and {folder} of the folder differ in case, zeros or separators only: are they one? "
            '--patient "ONE=OTHER"'
        )
    return f'; is it the same? --patient "{written}={folder}"'
