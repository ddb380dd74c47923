"""cohort.csv: who the numbers rest on; written, and read back when tables are rebuilt."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aggregate.cohort_facts import CohortFacts, PatientFacts
from aggregate.tables.entries import WEIGHTS
from pipeline.errors import ResultsError
from pipeline.tables import TableStyle, number_in, read_table, whole_number_in

COHORT = "cohort.csv"
SLICES_PREFIX = "slices_"
COVARIATE_PREFIX = "covariate_"
_BEFORE = ("patient_id", "label", "centre", "phases_present", "phases_missing")
_AFTER = ("tumour_volume_ml", "slice_thickness_mm")


def cohort_columns(cohort: CohortFacts) -> list[str]:
    """Return the columns of cohort.csv: slices per phase and covariates have one each."""
    slices = [f"{SLICES_PREFIX}{phase}" for phase in cohort.phase_names]
    return [*_BEFORE, *slices, *_AFTER, *covariate_columns(cohort.covariate_names)]


def covariate_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of the covariates: their names, marked where the table has such a column itself."""
    return [f"{COVARIATE_PREFIX}{name}" if _is_taken(name) else name for name in names]


def _is_taken(name: str) -> bool:
    return name in (*_BEFORE, *_AFTER, WEIGHTS) or name.startswith((SLICES_PREFIX, COVARIATE_PREFIX))


def cohort_rows(cohort: CohortFacts) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of cohort.csv."""
    covariates = dict(zip(covariate_columns(cohort.covariate_names), cohort.covariate_names, strict=True))
    for patient in cohort.patients:
        yield {
            "patient_id": patient.patient_id,
            "label": patient.label,
            "centre": patient.centre or "",
            "phases_present": "+".join(patient.phases_present),
            "phases_missing": "+".join(patient.phases_missing),
            **{
                f"{SLICES_PREFIX}{phase}": patient.slices_per_phase.get(phase, 0)
                for phase in cohort.phase_names
            },
            "tumour_volume_ml": patient.tumour_volume_ml,
            "slice_thickness_mm": patient.slice_thickness_mm,
            **{column: patient.covariates.get(name, "") for column, name in covariates.items()},
        }


def read_cohort_facts(folder: Path, *, style: TableStyle | None = None) -> CohortFacts:
    """Rebuild the facts of the cohort from cohort.csv.

    Raises:
        ResultsError: the table is missing or lacks a column.
    """
    style = style or TableStyle()
    rows = read_table(folder / COHORT, style=style)
    missing = [name for name in (*_BEFORE, *_AFTER) if rows and name not in rows[0]]
    if missing:
        raise ResultsError(f"{folder / COHORT}: expected column {missing[0]}, found none")
    return CohortFacts(tuple(_patient(row, style) for row in rows))


def _patient(row: Mapping[str, str], style: TableStyle) -> PatientFacts:
    known = (*_BEFORE, *_AFTER, *style.stamp)
    slices = {
        name: whole_number_in(cell) or 0 for name, cell in row.items() if name.startswith(SLICES_PREFIX)
    }
    return PatientFacts(
        patient_id=row["patient_id"],
        label=row["label"],
        centre=row["centre"] or None,
        tumour_volume_ml=number_in(row["tumour_volume_ml"]),
        slice_thickness_mm=number_in(row["slice_thickness_mm"]),
        slices_per_phase={name.removeprefix(SLICES_PREFIX): count for name, count in slices.items()},
        covariates={
            name.removeprefix(COVARIATE_PREFIX): cell
            for name, cell in row.items()
            if name not in known and name not in slices
        },
    )
