"""Weighted sums of configurations whose weights add up to 0, such as a difference of two, tested over patients and folds.

A mean difference over many pairs is one such sum. Every form that the tests ask for (the metric of each resample, the metric of
each fold, the loss of each patient) is linear in the configurations, so a sum of hundreds of them costs one product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.comparisons import Difference, corrected_t, holm, paired_bootstrap
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.statistics.measures import balanced_accuracy, brier_losses, macro_auc
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import design_effect
from aggregate.study.basis import StudyBasis
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T, tested_over_trained
from aggregate.tables.rows import or_not_estimable

Metric = Literal["auc", "balanced_accuracy"]
MEASURES = {"auc": macro_auc, "balanced_accuracy": balanced_accuracy}


@dataclass(frozen=True, eq=False)
class Scores:
    """One metric of several models in the forms that the tests ask for.

    Attributes:
        names: of the models.
        resampled: float64 (models, 1 + draws), the metric of the cohort first.
        per_fold: float64 (models, folds), NaN where a class is missing.
        losses: float64 (models, repeats, n), Brier loss of each patient, which tells the design effect.
    """

    names: tuple[str, ...]
    resampled: NDArray[np.float64]
    per_fold: NDArray[np.float64]
    losses: NDArray[np.float64]

    def difference(self, model_a: str, model_b: str) -> NDArray[np.float64]:
        """Return the weights (models,) of model a minus model b."""
        weights = np.zeros(len(self.names))
        weights[self.names.index(model_a)] += 1.0
        weights[self.names.index(model_b)] -= 1.0
        return weights


def scores_of(basis: StudyBasis, names: Sequence[str], metric: Metric = "auc") -> Scores:
    """Measure some models of a study; the macro AUC is taken from what the basis has measured already."""
    predictions, measure = basis.predictions, MEASURES[metric]
    found = [predictions.probabilities[name] for name in names]
    if metric == "auc":
        resampled = [basis.measured[name].resampled for name in names]
        per_fold = [basis.per_fold[name] for name in names]
    else:
        resampled = [measure(predictions.labels, p, basis.weights).resampled for p in found]
        per_fold = [basis.of_folds(p, measure) for p in found]
    losses = [brier_losses(predictions.labels, p) for p in found]
    return Scores(tuple(names), np.array(resampled), np.array(per_fold), np.array(losses))


@dataclass(frozen=True)
class Tested:
    """A difference by one test."""

    test: str
    found: Difference
    knows: str = ""
    """What its standard error counts beside the patients."""

    @property
    def note(self) -> str:
        """Why a number is missing, or what the test knows."""
        return f"{NOT_ESTIMABLE}: {self.found.reason}" if self.found.reason else self.knows


def both_tests(basis: StudyBasis, scores: Scores, weights: NDArray[np.float64]) -> tuple[Tested, Tested]:
    """Test a weighted sum of models against 0 over the patients and over the folds; weights (models,) that add up to 0."""
    return over_patients(basis, scores, weights), over_folds(basis, scores, weights)


def over_patients(basis: StudyBasis, scores: Scores, weights: NDArray[np.float64]) -> Tested:
    """Test it by the paired bootstrap of the patients, widened by the design effect of the sum of the losses."""
    labels = basis.predictions.labels
    effect = design_effect(np.tensordot(weights, scores.losses, 1), labels, basis.predictions.fold)
    found = paired_bootstrap(
        np.maximum(weights, 0) @ scores.resampled,
        np.maximum(-weights, 0) @ scores.resampled,
        smallest_n=int(np.bincount(labels).min()),
        confidence=basis.statistics.confidence,
        sample=Sample(labels, basis.weights, effect),
    )
    return Tested(BOOTSTRAP, found, "" if effect is None else f"design effect {effect:.2f}")


def over_folds(basis: StudyBasis, scores: Scores, weights: NDArray[np.float64]) -> Tested:
    """Test it by Nadeau and Bengio's corrected t over the folds of all repeats."""
    found = corrected_t(
        weights @ scores.per_fold,
        test_over_train=tested_over_trained(basis.predictions.fold),
        confidence=basis.statistics.confidence,
    )
    return Tested(CORRECTED_T, found)


def adjusted(p_values: Sequence[float | None]) -> list[tuple[float | None, int]]:
    """Adjust the p-values of one family by Holm's method; (None, their number) where there is none."""
    known = [p for p in p_values if p is not None]
    of_known = iter(holm(known))
    return [(None if p is None else next(of_known), len(known)) for p in p_values]


def adjusted_cells(family: Sequence[tuple[Tested, Tested]]) -> list[tuple[Mapping[str, Any], ...]]:
    """Return the cells of each difference of a family, by test; p-values are adjusted over the family, per test."""
    by_test = [adjusted([tested[i].found.p_value for tested in family]) for i in range(2)]
    return [
        tuple(_cells(one, *by_test[i][number]) for i, one in enumerate(tested))
        for number, tested in enumerate(family)
    ]


def _cells(tested: Tested, p_adjusted: float | None, n_comparisons: int) -> Mapping[str, Any]:
    found = tested.found
    return {
        "test": tested.test,
        "difference": or_not_estimable(found.value),
        "ci_low": or_not_estimable(found.low),
        "ci_high": or_not_estimable(found.high),
        "p_value": or_not_estimable(found.p_value),
        "p_adjusted": or_not_estimable(p_adjusted),
        "n_comparisons": n_comparisons,
        "note": tested.note,
    }
