"""comparisons.csv: every pair of models on the same patients, with three tests and at most one primary comparison."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.comparisons import Difference, corrected_t, delong, holm, paired_bootstrap
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.statistics.measures import (
    MACRO,
    Measurement,
    balanced_accuracy,
    brier_losses,
    class_auc,
    macro_auc,
)
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import design_effect
from aggregate.tables.derived import DerivedTable
from aggregate.tables.performance import group_sizes
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import CLASS, METRIC_COMPARED, MODEL, N_POSITIVE, N, bounds
from aggregate.tables.table import Column, Kind
from pipeline.errors import ConfigError

COMPARISONS = DerivedTable(
    "comparisons.csv",
    "pair of models x class x metric x test",
    (
        Column("model_a", MODEL.meaning),
        Column("model_b", MODEL.meaning),
        CLASS,
        METRIC_COMPARED,
        Column(
            "test",
            "paired patient bootstrap; Nadeau-Bengio corrected t over repeats x folds; DeLong (AUC of one class)",
        ),
        Column("difference", "Model a minus model b, on the same patients", "metric", Kind.ESTIMATE),
        *bounds("metric", kind=Kind.ESTIMATE),
        Column("p_value", "Two-sided p-value of no difference", "", Kind.P_VALUE),
        Column(
            "p_adjusted",
            "p-value after Holm's adjustment over the comparisons with the same class, metric and test",
            "",
            Kind.P_VALUE,
        ),
        Column(
            "n_comparisons",
            "Number of comparisons adjusted together; 1 for the primary comparison",
            "comparisons",
            Kind.COUNT,
        ),
        Column("primary", "yes for the comparison declared as primary in the configuration", "", Kind.YES_NO),
        N,
        N_POSITIVE,
        Column(
            "note",
            (
                "Why a number is not estimable; otherwise the design effect in the test's variance, for models trained "
                "on each other's test patients. DeLong's test does not include it, so that its p-values are too "
                "small"
            ),
        ),
    ),
    place=70,
    rows=lambda basis: comparison_rows(basis.predictions, basis.weights, basis.settings),
    notes=(
        "The first row is the primary comparison if one was declared; all other rows are exploratory. The "
        "difference of the corrected t is the mean over the folds and so differs from the other two, "
        "which pool the folds. The paired bootstrap widens its interval by the design effect of the "
        "difference, as performance.csv does; DeLong's test includes the patients only."
    ),
)

BOOTSTRAP = "paired patient bootstrap"
CORRECTED_T = "Nadeau-Bengio corrected t"
DELONG = "DeLong"


@dataclass(frozen=True)
class _Comparison:
    model_a: str
    model_b: str
    name: str
    metric: str
    test: str
    found: Difference
    knows: str
    """What its standard error counts beside the patients."""

    @property
    def family(self) -> tuple[str, str, str]:
        """Comparisons that are adjusted together."""
        return self.name, self.metric, self.test


@dataclass(frozen=True, eq=False)
class Compared:
    """One metric of one model in the forms that the tests ask for."""

    resampled: NDArray[np.float64]
    per_fold: NDArray[np.float64]


def comparison_rows(
    predictions: Predictions, weights: NDArray[np.float64], settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of comparisons.csv, the primary comparison first; `weights` as from `draw_resamples`.

    Raises:
        ConfigError: the primary comparison names a model that does not exist.
    """
    pairs = model_pairs(predictions.models, settings)
    compared = {
        model: compared_forms(predictions, p, weights) for model, p in predictions.probabilities.items()
    }
    found = [c for pair in pairs for c in _compare(predictions, compared, pair, weights, settings.confidence)]
    adjusted = _adjust(found, settings)
    for comparison in sorted(found, key=lambda c: not is_primary(c, settings)):
        yield _row(predictions, comparison, adjusted, settings)


def model_pairs(models: Sequence[str], settings: StatisticsSection) -> list[tuple[str, str]]:
    """Return the pairs to be compared, the primary pair in the direction it was declared in.

    Raises:
        ConfigError: the primary comparison names a model that does not exist.
    """
    pairs = list(combinations(models, 2))
    if settings.primary is None:
        return pairs
    primary = settings.primary.model_a, settings.primary.model_b
    for name in primary:
        if name not in models:
            raise ConfigError(
                f"aggregate.statistics.primary names model {name!r}; expected one of {', '.join(models)}"
            )
    if primary[0] == primary[1]:
        raise ConfigError(f"aggregate.statistics.primary compares model {primary[0]!r} with itself")
    others = [pair for pair in pairs if set(pair) != set(primary)]
    if settings.compare == "primary_models":
        others = [pair for pair in others if set(pair) & set(primary)]
    return [primary, *others]


def is_primary(comparison: _Comparison, settings: StatisticsSection) -> bool:
    """Say whether this is the one comparison that was declared beforehand."""
    primary = settings.primary
    return primary is not None and (primary.model_a, primary.model_b, MACRO, primary.metric, BOOTSTRAP) == (
        comparison.model_a, comparison.model_b, comparison.name, comparison.metric, comparison.test
    )  # fmt: skip


def compared_forms(
    predictions: Predictions, probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> Mapping[tuple[str, str], Compared]:
    """Measure one model on every resample and in every fold: by class (or "macro") and metric."""
    whole = _measures(predictions.classes, predictions.labels, probabilities, weights)
    per_fold = defaultdict(list)
    for repeat, folds in enumerate(predictions.fold):
        for fold in np.unique(folds):
            tested = folds == fold
            everyone = np.ones((int(tested.sum()), 1))
            of_fold = probabilities[repeat : repeat + 1, tested]
            measured = _measures(predictions.classes, predictions.labels[tested], of_fold, everyone)
            for row, found in measured.items():
                per_fold[row].append(found.per_repeat[0])
    return {row: Compared(found.resampled, np.array(per_fold[row])) for row, found in whole.items()}


def _measures(
    classes: Sequence[str],
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Mapping[tuple[str, str], Measurement]:
    return {
        (MACRO, "auc"): macro_auc(labels, probabilities, weights),
        (MACRO, "balanced_accuracy"): balanced_accuracy(labels, probabilities, weights),
        **{(name, "auc"): class_auc(labels, probabilities, weights, k) for k, name in enumerate(classes)},
    }


def _compare(
    predictions: Predictions,
    compared: Mapping[str, Mapping[tuple[str, str], Compared]],
    pair: tuple[str, str],
    weights: NDArray[np.float64],
    confidence: float,
) -> Iterator[_Comparison]:
    model_a, model_b = pair
    ratio = tested_over_trained(predictions.fold)
    sample = _sample(predictions, pair, weights)
    for (name, metric), a in compared[model_a].items():
        b = compared[model_b][name, metric]
        smallest = min(group_sizes(predictions.labels, predictions.classes, name))
        tests = {
            BOOTSTRAP: paired_bootstrap(
                a.resampled, b.resampled, smallest_n=smallest, confidence=confidence, sample=sample
            ),
            CORRECTED_T: corrected_t(a.per_fold - b.per_fold, test_over_train=ratio, confidence=confidence),
        }
        if name != MACRO:
            k = predictions.classes.index(name)
            scores_a, scores_b = (predictions.probabilities[model][:, :, k] for model in pair)
            tests[DELONG] = delong(scores_a, scores_b, predictions.labels == k, confidence=confidence)
        effect = sample.design_effect
        knows = {
            BOOTSTRAP: "" if effect is None else f"design effect {effect:.2f}",
            DELONG: "knows the patients only, no design effect",
        }
        for test, found in tests.items():
            yield _Comparison(model_a, model_b, name, metric, test, found, knows.get(test, ""))


def _sample(predictions: Predictions, pair: tuple[str, str], weights: NDArray[np.float64]) -> Sample:
    """Return the resampled patients with the design effect of the difference of two models."""
    labels = predictions.labels
    a, b = (brier_losses(labels, predictions.probabilities[model]) for model in pair)
    return Sample(labels, weights, design_effect(a - b, labels, predictions.fold))


def tested_over_trained(fold: NDArray[np.intp]) -> float:
    """Return the patients tested over the patients not tested in a fold, averaged over the folds; fold (repeats, n)."""
    n = fold.shape[1]
    sizes = np.concatenate([np.unique(row, return_counts=True)[1] for row in fold])
    return float(np.mean(sizes / np.maximum(1, n - sizes)))


def _adjust(
    found: Sequence[_Comparison], settings: StatisticsSection
) -> Mapping[_Comparison, tuple[float, int]]:
    """Adjusted p-value and number of comparisons in its family; the primary comparison is a family of its own."""
    families = defaultdict(list)
    for comparison in found:
        if comparison.found.p_value is not None:
            families[is_primary(comparison, settings), *comparison.family].append(comparison)
    adjusted: dict[_Comparison, tuple[float, int]] = {}
    for members in families.values():
        p_values = holm([c.found.p_value for c in members if c.found.p_value is not None])
        adjusted |= {c: (p, len(members)) for c, p in zip(members, p_values, strict=True)}
    return adjusted


def _row(
    predictions: Predictions,
    comparison: _Comparison,
    adjusted: Mapping[_Comparison, tuple[float, int]],
    settings: StatisticsSection,
) -> Mapping[str, Any]:
    found = comparison.found
    p_adjusted, n_comparisons = adjusted.get(comparison, (None, None))
    sizes = group_sizes(predictions.labels, predictions.classes, comparison.name)
    return {
        "model_a": comparison.model_a,
        "model_b": comparison.model_b,
        "class": comparison.name,
        "metric": comparison.metric,
        "test": comparison.test,
        "difference": or_not_estimable(found.value),
        "ci_low": or_not_estimable(found.low),
        "ci_high": or_not_estimable(found.high),
        "p_value": or_not_estimable(found.p_value),
        "p_adjusted": or_not_estimable(p_adjusted),
        "n_comparisons": n_comparisons,
        "primary": is_primary(comparison, settings),
        "n": sum(sizes),
        "n_positive": None if comparison.name == MACRO else sizes[0],
        "note": f"{NOT_ESTIMABLE}: {found.reason}" if found.reason else comparison.knows,
    }
