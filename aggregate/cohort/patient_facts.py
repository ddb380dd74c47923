"""The facts about each patient that the tables need beside the predictions: scans, tumour, centre, covariates."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aggregate.cohort.scales import slices_per_phase
from pipeline.bags import CT, ONLY_PHASE, Bag
from pipeline.cohort import Patient
from pipeline.errors import ResultsError
from pipeline.quantities import median_of_phases, slice_thickness_mm, tumour_volumes_ml


@dataclass(frozen=True)
class PatientFacts:
    """One patient as a row of cohort.csv."""

    patient_id: str
    label: str
    centre: str | None = None
    tumour_volume_ml: float | None = None
    """None if no slice has a mask."""
    slice_thickness_mm: float | None = None
    """Distance between slices, the largest over the phases."""
    slices_per_phase: Mapping[str, int] = field(default_factory=dict)
    """Number of tumour-bearing slices per phase; 0 for a missing phase."""
    covariates: Mapping[str, str] = field(default_factory=dict)
    """As text, empty if unknown."""

    def with_covariates(self, names: Collection[str]) -> "PatientFacts":
        """Return the facts with the named covariates alone."""
        return replace(
            self, covariates={name: text for name, text in self.covariates.items() if name in names}
        )

    @property
    def phases_missing(self) -> tuple[str, ...]:
        """The phases without slices."""
        return tuple(name for name, slices in self.slices_per_phase.items() if slices == 0)

    @property
    def phases_present(self) -> tuple[str, ...]:
        """The phases with slices."""
        return tuple(name for name, slices in self.slices_per_phase.items() if slices > 0)


@dataclass(frozen=True)
class CohortFacts:
    """The facts about every patient of an experiment, including patients that no fold tested."""

    patients: tuple[PatientFacts, ...]

    def of(self, patient_ids: Sequence[str]) -> "CohortFacts":
        """Return the facts about the named patients, in this order.

        Raises:
            ResultsError: a patient is not in the table.
        """
        known = {patient.patient_id: patient for patient in self.patients}
        unknown = [name for name in patient_ids if name not in known]
        if unknown:
            raise ResultsError(f"patient {unknown[0]} has predictions but no row in cohort.csv")
        return CohortFacts(tuple(known[name] for name in patient_ids))

    @property
    def phase_names(self) -> tuple[str, ...]:
        """Every phase of the cohort, in acquisition order."""
        return tuple(dict.fromkeys(name for patient in self.patients for name in patient.slices_per_phase))

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Every covariate of the cohort, in the order of the cohort table."""
        return tuple(dict.fromkeys(name for patient in self.patients for name in patient.covariates))


def describe_patient(bag: Bag, patient: Patient, phases: Sequence[str] = ()) -> PatientFacts:
    """Collect the facts about one patient from the bag and the row of the cohort table.

    The volume is the median over the phases, from the kept slices (pipeline/quantities.py).

    Args:
        bag: of the patient.
        patient: the row.
        phases: those of the experiment's scans; a patient whose bag is of another modality has no slice of them.
    """
    header = bag.header
    if header.modality != CT and ONLY_PHASE not in phases and phases:
        return PatientFacts(
            patient_id=bag.patient_id,
            label=patient.label or "",
            centre=patient.centre,
            slices_per_phase=dict.fromkeys(phases, 0),
            covariates=dict(patient.covariates),
        )
    volumes = tumour_volumes_ml(bag)
    sources = [header.sources[name] for name in header.phases_present if name in header.sources]
    spacings = [source.spacing_mm for source in sources if math.isfinite(source.spacing_mm[2])]
    return PatientFacts(
        patient_id=bag.patient_id,
        label=patient.label or "",
        centre=patient.centre,
        tumour_volume_ml=median_of_phases(volumes.values()) if volumes else None,
        slice_thickness_mm=slice_thickness_mm(spacings) if spacings else None,
        slices_per_phase=dict(zip(header.phase_names, slices_per_phase(bag), strict=True)),
        covariates=dict(patient.covariates),
    )
