"""training_measures.json: what was measured of the training patients' lesions, in groups, to hold one patient beside.

The measures are those of concepts.csv and kinetics.csv. A range is told by the rules of training_cohort.json: 5 to 95 % of a
class of twenty patients or more, its quartiles from five on, nothing of fewer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from aggregate.cohort.study_cohort import StudyCohort
from aggregate.explain.patient_measures import MeasuredPatient, measured_in_bag, sets_with_measures
from aggregate.package.training_cohort import NumberGroup, number_group
from pipeline.phase_roles import PhaseRoles

TRAINING_MEASURES = "training_measures.json"
HU, MM, ML, PERCENT, RATIO = "HU", "mm", "ml", "%", ""


@dataclass(frozen=True)
class LesionMeasure:
    """One measure of a patient's lesion, as a radiologist names it."""

    name: str
    """As in concepts.csv or kinetics.csv, of which `source` says which."""
    source: Literal["signs", "kinetics"]
    title: str
    unit: str
    digits: int = 0

    @property
    def key(self) -> str:
        """The key in the file: `washout_hu` is a column of both tables."""
        return f"{self.source}.{self.name}"

    def of(self, patient: MeasuredPatient) -> float:
        """Return the value of a patient; NaN where a phase is missing."""
        return float(asdict(getattr(patient, self.source))[self.name])


LESION_MEASURES = (
    LesionMeasure("arterial_hyperenhancement_hu", "signs", "contrast to liver, arterial", HU),
    LesionMeasure("wash_in_hu", "kinetics", "wash-in", HU),
    LesionMeasure("washout_hu", "signs", "washout against liver", HU),
    LesionMeasure("contrast_change_hu", "kinetics", "contrast, last less arterial", HU),
    LesionMeasure("progressive_enhancement_hu", "signs", "progressive enhancement", HU),
    LesionMeasure("rim_arterial_hu", "signs", "rim over core, arterial", HU),
    LesionMeasure("capsule_hu", "signs", "capsule", HU),
    LesionMeasure("heterogeneity_hu", "signs", "heterogeneity", HU),
    LesionMeasure("diameter_mm", "signs", "greatest diameter", MM),
    LesionMeasure("volume_ml", "signs", "volume", ML, 1),
    LesionMeasure("sphericity", "signs", "sphericity", RATIO, 2),
)


class TrainingMeasures(BaseModel):
    """The spread of each measure over the training patients of each class."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    measures: dict[str, dict[str, NumberGroup]]
    """Key of a measure -> class -> its spread; empty where a bag of the training patients lacks measures."""

    def groups(self, measure: LesionMeasure) -> Mapping[str, NumberGroup]:
        """Return class -> spread of a measure; empty where it is not known."""
        return self.measures.get(measure.key, {})


def training_measures(study: StudyCohort, roles: PhaseRoles) -> TrainingMeasures:
    """Summarise what stage 1 measured of the training patients.

    Args:
        study: the training patients.
        roles: which phase is arterial and so on.
    """
    patients = study.patients
    sets = sets_with_measures(study.matched.headers) if study.matched.headers else ()
    of_patients = [measured_in_bag(patients.bags(name)[i], roles) for i, name in enumerate(sets)]
    if not of_patients:
        return TrainingMeasures(measures={})
    of_class = {name: np.flatnonzero(patients.codes == k).tolist() for k, name in enumerate(patients.classes)}
    return TrainingMeasures(
        measures={
            measure.key: {
                name: _group(measure, [of_patients[i] for i in numbers]) for name, numbers in of_class.items()
            }
            for measure in LESION_MEASURES
        }
    )


def _group(measure: LesionMeasure, patients: Sequence[MeasuredPatient]) -> NumberGroup:
    values = [measure.of(patient) for patient in patients]
    return number_group([value if np.isfinite(value) else None for value in values])
