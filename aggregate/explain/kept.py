"""Measured patients by content: what was measured once, on the same slices by the same code, is not measured again."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pipeline.lesion_shape
import pipeline.quantities
import pipeline.slice_measures
import pipeline.slices
import pipeline.store
from aggregate.explain import shape, signs
from aggregate.explain.signs import SIGNS, Signs, measure_patient, signs_of
from pipeline.files import written_whole
from pipeline.phase_roles import PhaseRoles
from pipeline.provenance import sha256_of_json
from pipeline.slice_measures import MEASURES
from pipeline.slices import PhaseSlices

_CODE = (
    shape,
    signs,
    pipeline.lesion_shape,
    pipeline.quantities,
    pipeline.slice_measures,
    pipeline.slices,
    pipeline.store,
)
_LIBRARIES = ("numpy", "scipy", "scikit-image")


@dataclass(frozen=True)
class MeasuredPatient:
    """What was measured of one patient.

    Attributes:
        signs: of the patient.
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


class MeasuredPatients:
    """A folder of measured patients, one file each, written whole or not at all.

    The name of a file says what the numbers follow from: the slices, the roles of the phases, and the code that
    measures. The file says it too, with the hash of the numbers, so that one that was damaged or put under
    another name is as good as none.
    """

    def __init__(self, folder: Path, content_of: Callable[[str], str]) -> None:
        """Take the folder, and what gives the hash of a patient's slices."""
        self.folder = folder
        self.content_of = content_of

    def key_of(self, patient_id: str, roles: PhaseRoles) -> str:
        """Return what names the measures of a patient as its slices are now."""
        return sha256_of_json([self.content_of(patient_id), dict(roles.of_role), *_measured_by()])[:32]

    def read(self, key: str) -> MeasuredPatient | None:
        """Return the measures of a key, or None where there are none that can be trusted."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            is_whole = kept["sha256"] == sha256_of_json([key, kept["signs"], kept["slices"]])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not is_whole:
            return None
        rows = [_with_nan(row, MEASURES) for row in kept["slices"]]
        return MeasuredPatient(Signs(**_with_nan(kept["signs"], SIGNS)), rows)

    def write(self, key: str, patient: MeasuredPatient) -> None:
        """Keep the measures of a key."""
        about = _without_nan(asdict(patient.signs))
        rows = [_without_nan(row) for row in patient.slices]
        kept = {"sha256": sha256_of_json([key, about, rows]), "signs": about, "slices": rows}
        with written_whole(self._path(key)) as sibling:
            sibling.write_text(json.dumps(kept), encoding="utf-8")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


@cache
def _measured_by() -> tuple[Sequence[str], Sequence[str]]:
    code = [*map(inspect.getsource, _CODE), inspect.getsource(measured)]
    return code, [version(library) for library in _LIBRARIES]


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that JSON can hold: what cannot be measured is null."""
    return {name: None if value != value else value for name, value in row.items()}


def _with_nan(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**row, **{name: float("nan") if row[name] is None else row[name] for name in names}}
