"""Measures of a lesion beside the ranges of each class among the cohort."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patients import Patients
from aggregate.explain.patient_measures import MeasuredPatient


@dataclass(frozen=True)
class Range:
    """Quartiles of a measure among the patients of a class in whom it could be measured; NaN if there is none."""

    low: float
    median: float
    high: float
    n: int


@dataclass(frozen=True, eq=False)
class RangedMeasure:
    """A measure of every patient, in HU, and its range in every class.

    Attributes:
        title: what is measured.
        values: float64 (patients,), NaN where a phase is missing.
        ranges: class -> range.
    """

    title: str
    values: NDArray[np.float64]
    ranges: Mapping[str, Range]


CASE_MEASURES: dict[str, Callable[[MeasuredPatient], float]] = {
    "wash-in": lambda patient: patient.kinetics.wash_in_hu,
    "washout": lambda patient: patient.kinetics.washout_hu,
    "rim over core, arterial": lambda patient: patient.signs.rim_arterial_hu,
}
"""Shown beside the pictures of a patient; the meaning stands in kinetics.csv and concepts.csv."""


def ranged_measures(patients: Patients, measured: Sequence[MeasuredPatient]) -> list[RangedMeasure]:
    """Return the measures that are shown beside pictures, for all patients of the cohort."""
    found = []
    for title, measure in CASE_MEASURES.items():
        values = np.array([measure(one) for one in measured], dtype=np.float64)
        ranges = {name: range_of(values[patients.codes == k]) for k, name in enumerate(patients.classes)}
        found.append(RangedMeasure(title, values, ranges))
    return found


def range_of(values: NDArray[np.float64]) -> Range:
    """Return median and quartiles of the values that are known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Range(np.nan, np.nan, np.nan, 0)
    low, median, high = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
    return Range(low, median, high, len(known))
