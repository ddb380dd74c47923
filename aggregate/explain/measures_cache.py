"""Cache of the measurements of patients: the same slices are not measured again by the same code."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aggregate.explain.kinetics import KINETICS_NAMES, Kinetics
from aggregate.explain.patient_measures import MeasuredPatient
from aggregate.explain.signs import SIGNS, Signs
from aggregate.store.code_versions import code_sha256
from aggregate.store.content_store import ContentStore, EntryKind
from pipeline.phase_roles import PhaseRoles
from pipeline.provenance import sha256_of_json
from pipeline.slice_measures import MEASURES

_MEASURED_BY = ("aggregate.explain.patient_measures", "pipeline.store")
_FILE = "measures.json"


class MeasuredPatients:
    """Measurements of patients in a content store."""

    def __init__(self, folder: Path, content_of: Callable[[str], str]) -> None:
        """Store the folder, and the function that returns the hash of a patient's slices."""
        self.store = ContentStore(folder)
        self.content_of = content_of

    def key_of(self, patient_id: str, roles: PhaseRoles) -> str:
        """Return the cache key of a patient's measurements: slices, phase roles, and the measuring code."""
        return sha256_of_json([self.content_of(patient_id), dict(roles.of_role), code_sha256(*_MEASURED_BY)])[
            :32
        ]

    def read(self, key: str) -> MeasuredPatient | None:
        """Return the measurements of a key; None if there are none, or if the entry is damaged."""
        content = self.store.read(key, _FILE)
        if content is None:
            return None
        kept = json.loads(content)
        rows = [_with_nan(row, MEASURES) for row in kept["slices"]]
        signs, kinetics = _with_nan(kept["signs"], SIGNS), _with_nan(kept["kinetics"], KINETICS_NAMES)
        return MeasuredPatient(Signs(**signs), Kinetics(**kinetics), rows)

    def write(self, key: str, patient: MeasuredPatient, *, patient_id: str) -> None:
        """Store the measurements of a key."""
        rows = [_without_nan(row) for row in patient.slices]
        signs, kinetics = (_without_nan(asdict(part)) for part in (patient.signs, patient.kinetics))
        kept = {"signs": signs, "kinetics": kinetics, "slices": rows}
        with self.store.writing(key, EntryKind.MEASURES, of=patient_id) as folder:
            (folder / _FILE).write_text(json.dumps(kept), encoding="utf-8")


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for JSON, with null for values that could not be measured."""
    return {name: None if value != value else value for name, value in row.items()}


def _with_nan(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**row, **{name: float("nan") if row[name] is None else row[name] for name in names}}
