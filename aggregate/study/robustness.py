"""robustness.csv: performance of the fitted models as phases or slices are taken away from the test patients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patients import Patients
from aggregate.fitting.fitted_models import Change
from aggregate.statistics.intervals import bootstrap_interval
from aggregate.statistics.measures import macro_auc
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import design_effect
from aggregate.study.basis import StudyBasis
from aggregate.study.paired import losses_of, paired_difference
from aggregate.study_section import RobustnessSection
from aggregate.tables.rows import interval_cells, or_not_estimable
from aggregate.tables.shared_columns import MODEL, N, bounds, interval
from aggregate.tables.table import Column, Kind, Step, Table

NOTHING, WITHOUT, ONLY, SLICES = "nothing", "without phase", "only phase", "fewer slices"

Ask = Callable[[Change], NDArray[np.float64]]
"""What is done to the test patients -> out-of-fold probabilities, float64 (repeats, n, classes)."""

ROBUSTNESS = Table(
    "robustness.csv",
    "configuration x change of the test patients",
    (
        MODEL,
        Column("change", "What is taken away from the test patients"),
        Column("phase", "The phase that is taken away, or the only one left"),
        Column("share", "Share of the slices of each phase that is kept", "", Kind.NUMBER),
        *interval("Macro AUC of the out-of-fold predictions of all patients", "0 to 1"),
        N,
        Column(
            "difference",
            "Macro AUC after the change minus that before, on the same patients",
            "AUC",
            Kind.ESTIMATE,
        ),
        *bounds("AUC", kind=Kind.ESTIMATE, low="difference_low", high="difference_high"),
        Column("difference_method", "Method of this interval, or why a number is not estimable"),
    ),
    place=480,
    step=Step.STUDY,
    words=(
        "change",
        {
            NOTHING: "Every phase and slice of the test patients: what the differences refer to",
            WITHOUT: "All phases but the one in `phase`",
            ONLY: "The phase in `phase` alone",
            SLICES: "A random share of the slices of each phase, at least one; AUC averaged over several choices (`draws`)",
        },
    ),
    notes=(
        "The models are those of the study, trained on everything; nothing is trained anew. A patient of whom nothing is left "
        "is predicted as the class frequencies of the training patients. The intervals are not adjusted for their number."
    ),
)


def robustness_rows(
    basis: StudyBasis, name: str, ask: Ask, phases: Sequence[str], section: RobustnessSection, *, seed: int
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of one configuration.

    Args:
        basis: of the study.
        name: the configuration.
        ask: asks its fitted models about changed test patients.
        phases: those that it may see.
        section: the shares of slices, and how often they are drawn.
        seed: of the draws.
    """
    whole = _stacked(ask, [lambda patients: patients])
    for change, phase, shown in _phase_changes(phases):
        of_change = whole if shown is None else _stacked(ask, [partial(_in_phases, phases=shown)])
        yield {
            "model": name,
            "change": change,
            "phase": phase,
            "share": None,
            **_cells(basis, of_change, whole),
        }
    for share in sorted(set(section.slices), reverse=True):
        fewer = [partial(_with_fewer_slices, share=share, seed=[seed, i]) for i in range(section.draws)]
        cells = _cells(basis, _stacked(ask, fewer), whole)
        yield {"model": name, "change": SLICES, "phase": "", "share": share, **cells}


def _phase_changes(phases: Sequence[str]) -> Iterator[tuple[str, str, frozenset[str] | None]]:
    """Yield what is taken away, the phase, and what is shown; of two phases, one away leaves one, which is told once."""
    yield NOTHING, "", None
    if len(phases) > 2:
        for phase in phases:
            yield WITHOUT, phase, frozenset(phases) - {phase}
    if len(phases) > 1:
        for phase in phases:
            yield ONLY, phase, frozenset({phase})


def _in_phases(patients: Patients, *, phases: frozenset[str]) -> Patients:
    return patients.in_phases(phases)


def _with_fewer_slices(patients: Patients, *, share: float, seed: Sequence[int]) -> Patients:
    return patients.with_fewer_slices(share, seed=seed)


def _stacked(ask: Ask, changes: Sequence[Change]) -> NDArray[np.float64]:
    """Return the probabilities after each of several choices, float64 (choices, repeats, n, classes)."""
    return np.stack([ask(change) for change in changes])


def _cells(basis: StudyBasis, changed: NDArray[np.float64], whole: NDArray[np.float64]) -> Mapping[str, Any]:
    labels, confidence = basis.predictions.labels, basis.statistics.confidence
    (draws, losses), before = _measured(basis, changed), _measured(basis, whole)
    # The choices of a repeat share its folds: to the design effect they are one set of predictions, of their mean loss.
    sample = Sample(labels, basis.weights, design_effect(losses, labels, basis.predictions.fold))
    smallest = int(np.bincount(labels).min())
    estimate = bootstrap_interval(
        draws, scale="logit", smallest_n=smallest, confidence=confidence, sample=sample
    )
    found = paired_difference(basis, (draws, before[0]), (losses, before[1]))
    method = found.reason or "paired patient bootstrap"
    return {
        **interval_cells(estimate),
        "n": len(labels),
        "difference": or_not_estimable(found.value),
        "difference_low": or_not_estimable(found.low),
        "difference_high": or_not_estimable(found.high),
        "difference_method": method,
    }


def _measured(
    basis: StudyBasis, probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the macro AUC of each resample (1 + draws,) and the losses (repeats, n), both averaged over the choices."""
    labels, weights = basis.predictions.labels, basis.weights
    auc = [macro_auc(labels, of_choice, weights).resampled for of_choice in probabilities]
    losses = [losses_of(basis, of_choice) for of_choice in probabilities]
    return np.mean(auc, axis=0), np.mean(losses, axis=0)
