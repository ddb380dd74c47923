"""How much each phase carries for one patient: attention where the models attend, and what happens without the phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patients import Patients
from aggregate.explain.inputs import ExplainableModel
from aggregate.package.loaded_package import Package
from pipeline.bags import Bag


@dataclass(frozen=True, eq=False)
class Attention:
    """The mean attention of the models of a package on the instances of one patient.

    Attributes:
        bag: as the models see it.
        weights: float64 (n,), summing to 1.
    """

    bag: Bag
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class PhaseShare:
    """What one phase is to the answer.

    Attributes:
        phase: its name.
        n_slices: slices of the patient in it.
        attention: share of the attention; None where the models do not attend.
        without: calibrated probability of the predicted class when the phase is taken away; None where nothing is left to see.
        change: probability with all phases minus `without`.
    """

    phase: str
    n_slices: int
    attention: float | None
    without: float | None
    change: float | None


def attention_of(package: Package, patients: Patients) -> Attention | None:
    """Return the attention on the only patient; None where a model that sees the patient does not attend."""
    models = [model for model in package.models if model.sees(patients)[0]]
    attending = [cast("ExplainableModel", model) for model in models if model.weighs_slices]
    if not attending or len(attending) < len(models):
        return None
    bags = [model.seen_bags(patients)[0] for model in attending]
    weights = [np.asarray(model.attention(patients)[0], dtype=np.float64) for model in attending]
    if any(len(one) != len(weights[0]) for one in weights):
        return None
    return Attention(bags[0], np.mean(weights, axis=0))


def phase_shares(
    package: Package, patients: Patients, predicted: str, probability: float, attention: Attention | None
) -> Sequence[PhaseShare]:
    """Return what each phase of the only patient is to the probability of the predicted class.

    Args:
        package: that was asked.
        patients: the one patient.
        predicted: class that was predicted.
        probability: of that class, calibrated.
        attention: of the models, if they attend.
    """
    contract, number = package.contract, package.classes.index(predicted)
    read = contract.phases_read or contract.phases
    sets = [patients.bags(name) for name in contract.bag_sets]
    present = [name for name in contract.phases if any(name in bags.phases_present(0) for bags in sets)]
    found = []
    for phase in present:
        left = patients.in_phases(name for name in present if name != phase)
        is_seen = len(present) > 1 and bool(package.sees(left)[0])
        without = float(package.predict_proba(left)[0, number]) if is_seen and phase in read else None
        if phase not in read:
            without = probability
        found.append(
            PhaseShare(
                phase=phase,
                n_slices=max(_slices_in(bags[0], phase) for bags in sets if bags.phases_present(0)),
                attention=None if attention is None else _attention_in(attention, phase),
                without=without,
                change=None if without is None else probability - without,
            )
        )
    return found


def _slices_in(bag: Bag, phase: str) -> int:
    return len(np.unique(bag.slice_index[bag.phase == bag.header.phase_names.index(phase)]))


def _attention_in(attention: Attention, phase: str) -> float:
    names = attention.bag.header.phase_names
    return (
        float(attention.weights[attention.bag.phase == names.index(phase)].sum()) if phase in names else 0.0
    )
