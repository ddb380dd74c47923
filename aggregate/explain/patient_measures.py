"""The measurements of one patient's slices."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aggregate.explain.signs import Signs, measure_patient, signs_of
from pipeline.phase_roles import PhaseRoles
from pipeline.slices import PhaseSlices


@dataclass(frozen=True)
class MeasuredPatient:
    """The measurements of one patient.

    Attributes:
        signs: radiological signs of the patient.
        slices: one row per phase and slice: phase, slice_number (from 1) and the measures of the slice.
    """

    signs: Signs
    slices: Sequence[Mapping[str, Any]]


def measured(phases: Sequence[PhaseSlices], roles: PhaseRoles) -> MeasuredPatient:
    """Measure a patient from the slices of its phases."""
    found = measure_patient(phases)
    rows = [
        {"phase": phase.slices.phase, "slice_number": int(index) + 1, **asdict(of_slice)}
        for phase in found.values()
        for index, of_slice in zip(phase.slices.slice_index, phase.measures, strict=True)
    ]
    return MeasuredPatient(signs_of(found, roles), rows)
