"""What a model reads of patients, as one vector per patient and phase: the mean over the slices of the phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patients import Patients
from aggregate.models import building
from aggregate.models.base import BagEstimator, PatientEstimator
from aggregate.models.baselines import SinglePhase
from aggregate.models.joint_views import views_of
from aggregate.models.modality_attention import ModalityAttention
from aggregate.models.registry import model_class
from aggregate.models.samples import MEASURES
from aggregate.models.views import View


@dataclass(frozen=True)
class Reading:
    """Features that a model, or a model inside it, reads.

    Attributes:
        name: the blocks in words, such as `lesion@features.3`.
        view: of the bags.
    """

    name: str
    view: View


def readings_of_model(kind: str, parameters: Mapping[str, object]) -> tuple[Reading, ...]:
    """Return what a model and every model inside it read of bags; the same blocks in other phases are one reading.

    Raises:
        ConfigError: a kind or a parameter is unknown.
    """
    outer = model_class(kind)
    found: dict[View, list[View]] = {}
    for model, given in [(outer, parameters), *outer.models_inside(parameters)]:
        if not issubclass(model, BagEstimator):
            continue
        for view in _views(building.build({model.kind: model}, model.kind, given, random_state=0)):
            found.setdefault(replace(view, phases=()), []).append(view)
    return tuple(
        Reading(_name(alike), replace(alike, phases=_phases(views))) for alike, views in found.items()
    )


def vectors_of(view: View, patients: Patients) -> Mapping[str, NDArray[np.float64]]:
    """Return phase -> mean feature vector of each patient, float64 (n, d); a row is NaN where the patient has no such phase.

    A measure that no slice of the phase has is NaN.

    Raises:
        ConfigError: the bags lack a block, phase or scale of the view.
    """
    rows: dict[str, dict[int, NDArray[np.float64]]] = {}
    for i in range(len(patients)):
        bag = view.of(patients[i])
        if bag is None:
            continue
        for number in np.unique(bag.phase):
            features = bag.features[bag.phase == number].astype(np.float64)
            rows.setdefault(bag.header.phase_names[number], {})[i] = _mean(features)
    return {phase: _table(len(patients), of_phase) for phase, of_phase in sorted(rows.items())}


def _views(model: PatientEstimator) -> Sequence[View]:
    if isinstance(model, ModalityAttention):
        return list(views_of(model.modalities, model.kind).values())
    if not isinstance(model, BagEstimator):
        return []
    phases = (model.phase,) if isinstance(model, SinglePhase) else tuple(model.phases)
    return [
        View(
            model.bags, tuple(model.features), model.measures, phases, tuple(model.scales), model.join_scales
        )
    ]


def _phases(views: Sequence[View]) -> tuple[str, ...]:
    """Return the phases of any of the views; none where one sees all."""
    if not all(view.phases for view in views):
        return ()
    return tuple(dict.fromkeys(phase for view in views for phase in view.phases))


def _name(view: View) -> str:
    blocks = [*(view.features or ("all features",)), *([MEASURES] if view.measures else [])]
    at = f" at {', '.join(view.scales)}" if view.scales else ""
    return f"{view.bags}: {' + '.join(blocks)}{at}" if view.bags else f"{' + '.join(blocks)}{at}"


def _mean(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the slices (d,) of what is known; NaN where nothing is."""
    known = np.isfinite(features)
    sums, counts = np.where(known, features, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _table(n: int, rows: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    width = len(next(iter(rows.values())))
    found = np.full((n, width), np.nan)
    for i, row in rows.items():
        found[i] = row
    return found
