"""All that is measured of one patient: read from the bag, or measured from the slices where the bag lacks it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aggregate.cohort.bag_sets import phases_with_instances
from aggregate.explain.kinetics import Kinetics, kinetics_of
from aggregate.explain.signs import MeasuredPhase, Signs, measure_patient, signs_of
from pipeline.bags import Bag, BagHeader
from pipeline.measures import MEASURES, SPHERICITY
from pipeline.phase_roles import PhaseRoles
from pipeline.quantities import tumour_volumes_ml
from pipeline.slice_measures import SliceMeasures
from pipeline.slices import PhaseSlices

_OF_SLICE = {measure.name: measure.field for measure in MEASURES if measure.field}
"""Measure of a bag -> the same of a slice."""


@dataclass(frozen=True)
class MeasuredPatient:
    """The measurements of one patient.

    Attributes:
        signs: radiological signs of the patient.
        kinetics: differences between its phases.
        slices: one row per phase and slice: phase, slice_number (from 1) and the measures of the slice.
    """

    signs: Signs
    kinetics: Kinetics
    slices: Sequence[Mapping[str, Any]]


def measured(phases: Sequence[PhaseSlices], roles: PhaseRoles) -> MeasuredPatient:
    """Measure a patient from the slices of its phases."""
    return _of_phases(measure_patient(phases), roles)


def has_measures(header: BagHeader) -> bool:
    """Say whether a bag holds every measure that stage 1 writes."""
    return {measure.name for measure in MEASURES} <= set(header.measure_names)


def sets_with_measures(headers: Mapping[str, Sequence[BagHeader | None]]) -> tuple[str, ...]:
    """Return, by patient, the first bag set in which the bag holds measures; empty where somebody has no such bag.

    Args:
        headers: bag set -> header of each patient's bag (n,), None where there is none.
    """
    found = []
    for of_patient in zip(*headers.values(), strict=True):
        by_set = zip(headers, of_patient, strict=True)
        found.append(next((name for name, header in by_set if header and has_measures(header)), None))
    return tuple(name for name in found if name is not None) if None not in found else ()


def measured_in_bag(bag: Bag, roles: PhaseRoles) -> MeasuredPatient:
    """Return what stage 1 measured of a patient, from a bag that has measures."""
    volumes_ml = tumour_volumes_ml(bag)
    found = {
        name: _phase_of_bag(bag, bag.header.phase_names.index(name), volumes_ml.get(name, float("nan")))
        for name in phases_with_instances(bag)
    }
    return _of_phases(found, roles)


def _phase_of_bag(bag: Bag, phase: int, volume_ml: float) -> MeasuredPhase:
    """Read one phase; a slice that is seen at several scales counts once."""
    here = np.flatnonzero(bag.phase == phase)
    _, first = np.unique(bag.slice_index[here], return_index=True)
    here = here[first]
    columns = {
        name: bag.measures[here, i].astype(np.float64) for i, name in enumerate(bag.header.measure_names)
    }
    of_slices = [
        SliceMeasures(**{field: float(columns[name][i]) for name, field in _OF_SLICE.items()})
        for i in range(len(here))
    ]
    spheres = columns[SPHERICITY]
    largest = np.argmax(bag.tumour_area_mm2[here])
    return MeasuredPhase(
        slice_index=bag.slice_index[here],
        tumour_area_mm2=bag.tumour_area_mm2[here],
        measures=of_slices,
        volume_ml=volume_ml,
        sphericity=float(spheres[largest]),
    )


def _of_phases(phases: Mapping[str, MeasuredPhase], roles: PhaseRoles) -> MeasuredPatient:
    rows = [
        {"phase": name, "slice_number": int(index) + 1, **asdict(of_slice)}
        for name, phase in phases.items()
        for index, of_slice in zip(phase.slice_index, phase.measures, strict=True)
    ]
    return MeasuredPatient(signs_of(phases, roles), kinetics_of(phases, roles), rows)
