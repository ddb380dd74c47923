"""cohort.csv: the patients behind the numbers; read back when tables are rebuilt."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aggregate.cohort.patient_facts import CohortFacts, PatientFacts
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row
from aggregate.tables.shared_columns import LABEL, PATIENT_ID
from aggregate.tables.table import WEIGHTS, Column, Kind, Names, Table
from pipeline.errors import ResultsError

COHORT = Table(
    "cohort.csv",
    "patient",
    (
        PATIENT_ID,
        LABEL,
        Column("centre", "Centre; empty if the cohort table names none"),
        Column("phases_present", "Phases with at least one slice in the bag"),
        Column("phases_missing", "Phases without slices; a missing phase is never imputed"),
        Column("slices_<phase>", "Slices of the phase in the bag", "slices", Kind.COUNT),
        Column(
            "tumour_volume_ml",
            "Tumour volume: area summed along z, median over the phases; empty without a mask",
            "ml",
            Kind.NUMBER,
        ),
        Column(
            "slice_thickness_mm", "Distance between slices, the largest over the phases", "mm", Kind.NUMBER
        ),
        Column(
            "<covariate>",
            "A further column of the cohort table that the configuration names, unchanged",
            "as given",
        ),
    ),
    place=10,
    notes="Every patient with a bag and a label. All other patients are in excluded.csv with the reason.",
)
SLICES_PREFIX = "slices_"
COVARIATE_PREFIX = "covariate_"
_OWN = (*(column.name for column in COHORT.columns if not column.is_pattern), WEIGHTS.name)


def cohort_names(cohort: CohortFacts) -> Names:
    """Return what the patterns among the columns stand for: slices per phase and covariates have a column each."""
    return {"phase": cohort.phase_names, "covariate": covariate_columns(cohort.covariate_names)}


def covariate_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of the covariates: their names, marked where the table has such a column itself."""
    return [f"{COVARIATE_PREFIX}{name}" if _is_taken(name) else name for name in names]


def _is_taken(name: str) -> bool:
    return name in _OWN or name.startswith((SLICES_PREFIX, COVARIATE_PREFIX))


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


def read_cohort_facts(tables: ResultTables) -> CohortFacts:
    """Rebuild the facts of the cohort from cohort.csv.

    Raises:
        ResultsError: the table is missing or lacks a column.
    """
    rows = tables.read(COHORT)
    missing = [name for name in _OWN if rows and name != WEIGHTS.name and name not in rows[0]]
    if missing:
        raise ResultsError(f"{tables.path(COHORT)}: expected column {missing[0]}, found none")
    return CohortFacts(tuple(map(_patient, rows)))


def _patient(row: Row) -> PatientFacts:
    slices = {name: count or 0 for name, count in row.items() if name.startswith(SLICES_PREFIX)}
    return PatientFacts(
        patient_id=row["patient_id"],
        label=row["label"],
        centre=row["centre"] or None,
        tumour_volume_ml=row["tumour_volume_ml"],
        slice_thickness_mm=row["slice_thickness_mm"],
        slices_per_phase={name.removeprefix(SLICES_PREFIX): count for name, count in slices.items()},
        covariates={
            name.removeprefix(COVARIATE_PREFIX): cell
            for name, cell in row.items()
            if name not in _OWN and name not in slices
        },
    )
