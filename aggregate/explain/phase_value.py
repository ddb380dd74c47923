"""Contribution of each phase: exact Shapley values of the macro AUC over all subsets of the phases.

    phi(p) = sum over S without p of |S|! (k - |S| - 1)! / k! * (v(S + p) - v(S))

with v(S) the macro AUC when only the phases in S are used, and v(no phase) = 0.5. The values of all phases sum to
v(all) - 0.5. `masking` gives the fitted out-of-fold models fewer phases; `retraining` trains new models on fewer
phases. Masking measures what a trained model uses, retraining what the phases contain.

A subset on which no model can be trained, because a fold has no patient of a class left, has no AUC; the values that
need it are reported as not estimable, with the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.explain.inputs import OutOfFoldModels
from aggregate.explain.resampling import Resampling, cells_of
from aggregate.fitting.fitted_models import changed_probabilities
from aggregate.statistics.intervals import Scale, without_estimate
from aggregate.statistics.measures import macro_auc
from aggregate.tables.shared_columns import MODEL, PHASE, N, interval
from aggregate.tables.table import Column, Kind, Step, Table
from pipeline.errors import FoldError

CHANCE = 0.5
Subset = frozenset[str]
Evaluate = Callable[[Subset], NDArray[np.float64]]
"""Phases used -> out-of-fold probabilities, float64 (repeats, patients, classes); FoldError if no model can be trained."""

WORTH = {
    "shapley": "Shapley value: mean gain of macro AUC from adding the phase, over all orders of adding phases",
    "auc_alone": "Macro AUC with this phase only",
    "auc_without": "Macro AUC without this phase",
}
"""Measure -> meaning."""
PHASE_VALUE = Table(
    "phase_value.csv",
    "model x method x phase x measure",
    (
        MODEL,
        Column(
            "method",
            "masking: fitted models get fewer phases; retraining: models are trained on fewer phases",
        ),
        PHASE,
        Column(
            "measure",
            (
                "shapley: mean gain of macro AUC from adding the phase, over all orders of adding phases; "
                "auc_alone: macro AUC with this phase only; auc_without: macro AUC without this phase; "
                "loss_without: macro AUC of all phases minus auc_without"
            ),
        ),
        *interval("The measure", "AUC", kind=Kind.NUMBER),
        N,
    ),
    place=190,
    step=Step.EXPLANATIONS,
    notes=(
        "The Shapley values of all phases sum to the macro AUC of all phases minus 0.5. They are not "
        "estimable by retraining if a fold has no training patient of a class left with some subset of the "
        "phases; ci_method names the subset."
    ),
)
PHASE_SUBSETS = Table(
    "phase_subsets.csv",
    "model x method x subset of the phases",
    (
        MODEL,
        Column("method", "masking or retraining"),
        Column("phases", "Phases used"),
        Column("n_phases", "Number of phases used", "phases", Kind.COUNT),
        *interval("Macro AUC", "0 to 1", kind=Kind.NUMBER),
        N,
    ),
    place=200,
    step=Step.EXPLANATIONS,
    notes="A patient with none of the phases is predicted as the class frequencies of the training patients.",
)


def subsets(phases: Sequence[str]) -> list[Subset]:
    """Return all non-empty subsets, smallest first, in the order of the phases."""
    sizes = (combinations(phases, size) for size in range(1, len(phases) + 1))
    return [frozenset(chosen) for chosen in chain.from_iterable(sizes)]


def shapley(
    values: Mapping[Subset, NDArray[np.float64]], phases: Sequence[str]
) -> Mapping[str, NDArray[np.float64]]:
    """Return the Shapley value of each phase, for every draw at once.

    Args:
        values: every subset, including the empty one -> float64 (draws,).
        phases: the k phases.
    """
    k = len(phases)
    result = {}
    for phase in phases:
        total = np.zeros_like(next(iter(values.values())))
        for without in (s for s in values if phase not in s):
            weight = factorial(len(without)) * factorial(k - len(without) - 1) / factorial(k)
            total = total + weight * (values[without | {phase}] - values[without])
        result[phase] = total
    return result


@dataclass(frozen=True, eq=False)
class PhaseValues:
    """The macro AUC of one model on every subset of phases, in every draw of the patients.

    Attributes:
        model: name of the model.
        method: masking or retraining.
        phases: phase names in the order of the configuration.
        auc: subset -> float64 (1 + draws,), NaN for subsets in `reasons`.
        n: number of patients.
        reasons: subset -> why it has no AUC.
    """

    model: str
    method: str
    phases: tuple[str, ...]
    auc: Mapping[Subset, NDArray[np.float64]]
    n: int
    reasons: Mapping[Subset, str] = field(default_factory=dict)

    def named(self, subset: Subset) -> str:
        """Name a subset by its phases, in the order of the configuration."""
        return "+".join(phase for phase in self.phases if phase in subset)

    def problem(self, needed: Iterable[Subset]) -> str | None:
        """Return why a value that needs some subsets is not estimable (first subset without AUC); None if it is."""
        lacking = [subset for subset in needed if subset in self.reasons]
        if not lacking:
            return None
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        return f"no training on {self.named(lacking[0])}{more}: {self.reasons[lacking[0]]}"


def phase_values(
    names: tuple[str, str], evaluate: Evaluate, phases: Sequence[str], labels: NDArray[np.intp],
    weights: NDArray[np.float64],
) -> PhaseValues:  # fmt: skip
    """Evaluate every subset; a FoldError is stored as the reason of its subset.

    Args:
        names: (model, method).
        evaluate: returns the probabilities of the patients for a subset of the phases.
        phases: phase names.
        labels: intp (n,).
        weights: float64 (n, 1 + draws).
    """
    auc: dict[Subset, NDArray[np.float64]] = {frozenset(): np.full(weights.shape[1], CHANCE)}
    reasons: dict[Subset, str] = {}
    for subset in subsets(phases):
        try:
            auc[subset] = macro_auc(labels, evaluate(subset), weights).resampled
        except FoldError as error:
            auc[subset] = np.full(weights.shape[1], np.nan)
            reasons[subset] = str(error)
    return PhaseValues(names[0], names[1], tuple(phases), auc, len(labels), reasons)


def masked_evaluation(inputs: OutOfFoldModels, name: str, patients: Sequence[int]) -> Evaluate:
    """Return the evaluation that gives the fitted out-of-fold models only some phases of their test patients.

    A patient with none of the phases is predicted as the class frequencies of the training patients.
    """

    def evaluate(phases: Subset) -> NDArray[np.float64]:
        models = inputs.models[name]
        return changed_probabilities(models, inputs.patients, patients, lambda shown: shown.in_phases(phases))

    return evaluate


def value_rows(values: PhaseValues, resampling: Resampling) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of phase_value.csv: per phase its Shapley value, its AUC alone, and the AUC without it."""
    everything = frozenset(values.phases)
    by_phase = shapley(values.auc, values.phases)
    for phase in values.phases:
        alone, without = frozenset({phase}), everything - {phase}
        measures = {
            "shapley": (by_phase[phase], tuple(values.auc)),
            "auc_alone": (values.auc[alone], (alone,)),
            "auc_without": (values.auc[without], (without,)),
            "loss_without": (values.auc[everything] - values.auc[without], (everything, without)),
        }
        for measure, (draws, needed) in measures.items():
            names = {"model": values.model, "method": values.method, "phase": phase, "measure": measure}
            scale: Scale = "logit" if measure.startswith("auc") else "linear"
            yield {**names, **_cells(values, draws, needed, resampling, scale)}


def subset_rows(values: PhaseValues, resampling: Resampling) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of phase_subsets.csv: the macro AUC of every subset of the phases."""
    for chosen in subsets(values.phases):
        yield {
            "model": values.model,
            "method": values.method,
            "phases": values.named(chosen),
            "n_phases": len(chosen),
            **_cells(values, values.auc[chosen], (chosen,), resampling, "logit"),
        }


def _cells(
    values: PhaseValues,
    draws: NDArray[np.float64],
    needed: Iterable[Subset],
    resampling: Resampling,
    scale: Scale,
) -> Mapping[str, Any]:
    problem = values.problem(needed)
    if problem:
        return cells_of(without_estimate(problem), values.n)
    return resampling.cells(draws, values.n, scale=scale)
