"""run_comparisons.csv: a model of one run against a model of another, on the patients that both have predicted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.comparisons import Difference, corrected_t, paired_bootstrap
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.statistics.measures import MACRO, brier_losses
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.statistics.training import design_effect
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T, compared_forms, tested_over_trained
from aggregate.tables.performance import group_sizes
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import CLASS, METRIC_COMPARED, N_POSITIVE, N, bounds
from aggregate.tables.table import WEIGHTS, Column, Kind, Step, Table

RUN_COMPARISONS = Table(
    "run_comparisons.csv",
    "class x metric x test",
    (
        Column("run_a", "Results folder of run a"),
        Column("model_a", "Name of the model of run a"),
        Column("weights_a", f"{WEIGHTS.meaning} of run a"),
        Column("run_b", "Results folder of run b"),
        Column("model_b", "Name of the model of run b"),
        Column("weights_b", f"{WEIGHTS.meaning} of run b"),
        CLASS,
        METRIC_COMPARED,
        Column(
            "test",
            "paired patient bootstrap; Nadeau-Bengio corrected t over repeats x folds, only of runs on the same splits",
        ),
        Column("estimate_a", "Metric of model a on the patients of both runs", "metric", Kind.ESTIMATE),
        Column("estimate_b", "Metric of model b on the patients of both runs", "metric", Kind.ESTIMATE),
        Column("difference", "Model a minus model b, on the patients of both runs", "metric", Kind.ESTIMATE),
        *bounds("metric", kind=Kind.ESTIMATE),
        Column("p_value", "Two-sided p-value of no difference, not adjusted", "", Kind.P_VALUE),
        N,
        N_POSITIVE,
        Column("n_only_a", "Patients that run a alone has predicted", "patients", Kind.COUNT),
        Column("n_only_b", "Patients that run b alone has predicted", "patients", Kind.COUNT),
        Column("note", "Why a number is not estimable; otherwise what the test's variance includes"),
    ),
    place=75,
    step=Step.COMPARE,
    notes=(
        "Patients of one run alone are left out. Where the splits differ, nothing tells what the training adds to the "
        "variance of the difference: the interval counts the patients alone and is too short. A model that was picked as the "
        "best of its run by these figures looks better than it is."
    ),
    names_weights=False,
)
DESIGN_UNKNOWN = "other splits: counts the patients alone, no design effect"


@dataclass(frozen=True, eq=False)
class ModelOfRun:
    """One model of one run.

    Attributes:
        run: results folder, as the table names it.
        model: name.
        weights: of the encoder.
        predictions: of the run.
    """

    run: str
    model: str
    weights: str
    predictions: Predictions

    def of(self, patient_ids: tuple[str, ...], classes: tuple[str, ...]) -> Predictions:
        """Return the predictions of the model alone, for some patients, the classes in a given order."""
        all_of_run = self.predictions
        at = np.array([all_of_run.patient_ids.index(name) for name in patient_ids], dtype=np.intp)
        order = [all_of_run.classes.index(name) for name in classes]
        probabilities = all_of_run.probabilities[self.model][:, at][:, :, order]
        return replace(
            all_of_run,
            classes=classes,
            patient_ids=patient_ids,
            labels=np.array([order.index(label) for label in all_of_run.labels[at]], dtype=np.intp),
            fold=all_of_run.fold[:, at],
            probabilities={self.model: probabilities},
            n_slices=all_of_run.n_slices[at],
            phases=tuple(all_of_run.phases[i] for i in at),
        )


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both models on the patients of both runs."""

    a: Predictions
    b: Predictions
    same_splits: bool

    @property
    def probabilities(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        (of_a,), (of_b,) = self.a.probabilities.values(), self.b.probabilities.values()
        return of_a, of_b

    def sample(self, weights: NDArray[np.float64]) -> Sample:
        """Return the resampled patients; with the design effect of the difference if the splits are the same."""
        if not self.same_splits:
            return Sample(self.a.labels, weights)
        loss_a, loss_b = (brier_losses(self.a.labels, p) for p in self.probabilities)
        return Sample(self.a.labels, weights, design_effect(loss_a - loss_b, self.a.labels, self.a.fold))


def shared_patients(a: Predictions, b: Predictions) -> tuple[str, ...]:
    """Return the patients that both have predicted, in the order of a."""
    of_b = frozenset(b.patient_ids)
    return tuple(name for name in a.patient_ids if name in of_b)


def run_comparison_rows(
    a: ModelOfRun, b: ModelOfRun, settings: StatisticsSection, *, same_splits: bool
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of run_comparisons.csv, macro AUC first.

    Args:
        a: of the first run.
        b: of the second; its classes and the labels of the patients in common are those of the first.
        settings: draws, seed and confidence.
        same_splits: both runs were cross-validated on the same folds.
    """
    shared, classes = shared_patients(a.predictions, b.predictions), a.predictions.classes
    pair = _Pair(a.of(shared, classes), b.of(shared, classes), same_splits)
    alone = [len(one.predictions.patient_ids) - len(shared) for one in (a, b)]
    names = {
        f"{what}_{side}": getattr(one, what)
        for side, one in (("a", a), ("b", b))
        for what in ("run", "model", "weights")
    }
    for (name, metric, test), estimates, found, note in _differences(pair, settings):
        sizes = group_sizes(pair.a.labels, classes, name)
        yield {
            **names,
            "class": name,
            "metric": metric,
            "test": test,
            "estimate_a": or_not_estimable(_finite(estimates[0])),
            "estimate_b": or_not_estimable(_finite(estimates[1])),
            "difference": or_not_estimable(found.value),
            "ci_low": or_not_estimable(found.low),
            "ci_high": or_not_estimable(found.high),
            "p_value": or_not_estimable(found.p_value),
            "n": sum(sizes),
            "n_positive": None if name == MACRO else sizes[0],
            "n_only_a": alone[0],
            "n_only_b": alone[1],
            "note": f"{NOT_ESTIMABLE}: {found.reason}" if found.reason else note,
        }


def _differences(
    pair: _Pair, settings: StatisticsSection
) -> Iterator[tuple[tuple[str, str, str], tuple[float, float], Difference, str]]:
    """Yield class, metric and test; the estimates of both; their difference; what its variance includes."""
    labels, confidence = pair.a.labels, settings.confidence
    weights = draw_resamples(labels, draws=settings.draws, seed=settings.seed)
    sample = pair.sample(weights)
    forms_a, forms_b = (
        compared_forms(one, p, weights) for one, p in zip((pair.a, pair.b), pair.probabilities, strict=True)
    )
    effect = sample.design_effect
    note = "" if effect is None else f"design effect {effect:.2f}"
    for (name, metric), a in forms_a.items():
        b = forms_b[name, metric]
        estimates = float(a.resampled[0]), float(b.resampled[0])
        smallest = min(group_sizes(labels, pair.a.classes, name))
        drawn = paired_bootstrap(
            a.resampled, b.resampled, smallest_n=smallest, confidence=confidence, sample=sample
        )
        yield (name, metric, BOOTSTRAP), estimates, drawn, note if pair.same_splits else DESIGN_UNKNOWN
        if pair.same_splits:
            ratio = tested_over_trained(pair.a.fold)
            over_folds = corrected_t(a.per_fold - b.per_fold, test_over_train=ratio, confidence=confidence)
            yield (name, metric, CORRECTED_T), estimates, over_folds, ""


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
