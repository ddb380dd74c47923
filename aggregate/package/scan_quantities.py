"""What a radiologist knows a scan by, read from the bags: slice thickness, pixel spacing, HU of the reference organ, size of the lesion."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patient_facts import describe_patient
from aggregate.cohort.patients import Patients
from pipeline.bags import CT, Bag
from pipeline.cohort import Patient as Row

ALL_PHASES = ""
"""In place of a phase, of a quantity of the patient."""
REFERENCE_HU = "reference_hu"
_DIAMETER = "morph_diam"
"""Measure of the greatest diameter of a lesion (pipeline.measures)."""


@dataclass(frozen=True)
class Quantity:
    """One number of a patient.

    Attributes:
        words: its name for a reader.
        unit: of the number.
    """

    words: str
    unit: str


QUANTITIES: Mapping[str, Quantity] = {
    "slice_thickness_mm": Quantity("slice thickness", "mm"),
    "pixel_spacing_mm": Quantity("pixel spacing", "mm"),
    REFERENCE_HU: Quantity("density of the reference organ", "HU"),
    "lesion_slices": Quantity("slices with lesion in a phase", "slices"),
    "lesion_diameter_mm": Quantity("greatest diameter of the lesion", "mm"),
    "lesion_volume_ml": Quantity("volume of all lesions", "ml"),
}
Key = tuple[str, str]
"""Quantity, and phase or ALL_PHASES."""


@dataclass(frozen=True, eq=False)
class ScanQuantities:
    """The quantities of n patients.

    Attributes:
        values: quantity and phase -> float64 (n,), NaN where the bags do not tell it.
        has_phase: phase -> bool (n,), whether the patient has the phase.
    """

    values: Mapping[Key, NDArray[np.float64]]
    has_phase: Mapping[str, NDArray[np.bool_]]


def quantities_of(patients: Patients, bag_sets: Sequence[str]) -> ScanQuantities:
    """Read the quantities of patients from their first bag of scans among some bag sets.

    Args:
        patients: whose bags are read.
        bag_sets: names of sets, in the order of trial.
    """
    of_patient: list[Mapping[Key, float]] = []
    present: list[Sequence[str]] = []
    phases: dict[str, None] = {}
    for i in range(len(patients)):
        bag = _scans_of(patients, bag_sets, i)
        of_patient.append({} if bag is None else dict(_quantities(bag)))
        present.append(() if bag is None else bag.header.phases_present)
        phases |= dict.fromkeys(() if bag is None else bag.header.phase_names)
    keys = [key for name in QUANTITIES for key in _keys(name, phases)]
    values = {key: np.array([one.get(key, np.nan) for one in of_patient]) for key in keys}
    return ScanQuantities(
        values={key: column for key, column in values.items() if np.isfinite(column).any()},
        has_phase={name: np.array([name in shown for shown in present]) for name in phases},
    )


def _keys(name: str, phases: Iterable[str]) -> list[Key]:
    return [(name, phase) for phase in phases] if name == REFERENCE_HU else [(name, ALL_PHASES)]


def _scans_of(patients: Patients, bag_sets: Sequence[str], index: int) -> Bag | None:
    for name in bag_sets:
        bags = patients.bag_sets[name]
        if bags.phases_present(index):
            bag = bags[index]
            if bag.header.modality == CT:
                return bag
    return None


def _quantities(bag: Bag) -> Iterable[tuple[Key, float]]:
    facts = describe_patient(bag, Row(bag.patient_id, {}, None))
    sources = [bag.header.sources[name] for name in bag.header.phases_present]
    per_phase = [n for n in facts.slices_per_phase.values() if n]
    yield ("slice_thickness_mm", ALL_PHASES), _or_nan(facts.slice_thickness_mm)
    yield ("pixel_spacing_mm", ALL_PHASES), max((max(s.spacing_mm[:2]) for s in sources), default=np.nan)
    yield ("lesion_slices", ALL_PHASES), float(np.median(per_phase)) if per_phase else np.nan
    yield ("lesion_volume_ml", ALL_PHASES), _or_nan(facts.tumour_volume_ml)
    if _DIAMETER in bag.header.measure_names:
        diameters = bag.measures[:, bag.header.measure_names.index(_DIAMETER)]
        in_phases = [diameters[bag.phase == number] for number in np.unique(bag.phase)]
        largest = [float(np.nanmax(one)) for one in in_phases if np.isfinite(one).any()]
        yield ("lesion_diameter_mm", ALL_PHASES), float(np.median(largest)) if largest else np.nan
    for phase, hu in bag.header.reference_hu.items():
        yield (REFERENCE_HU, phase), hu


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
