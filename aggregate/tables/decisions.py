"""thresholds.csv and decision_curve.csv: performance when a probability is turned into a decision."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import DECISION_THRESHOLDS, TuneFold, choose_threshold, net_benefit
from aggregate.statistics.intervals import NOT_ESTIMABLE, Estimate, bootstrap_interval, without_estimate
from aggregate.statistics.printed_probabilities import PROBABILITY_DIGITS
from aggregate.statistics.ranking import ratio
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import trained_sample
from aggregate.tables.derived import DerivedTable
from aggregate.tables.rows import ALL, interval_cells, or_not_estimable
from aggregate.tables.shared_columns import MODEL, ONE_CLASS, N, bounds, interval
from aggregate.tables.table import Column, Kind
from pipeline.errors import ConfigError

THRESHOLDS = DerivedTable(
    "thresholds.csv",
    "model x class x fold, and one row over all folds",
    (
        MODEL,
        ONE_CLASS,
        Column(
            "rule",
            "Rule of the threshold: youden (largest sensitivity + specificity), or the sensitivity or specificity to reach",
        ),
        Column(
            "repeat", "Repeat of the cross-validation, from 0; all for the summary", "", Kind.COUNT_OR_ALL
        ),
        Column("fold", "Fold within the repeat, from 0; all for the summary", "", Kind.COUNT_OR_ALL),
        Column(
            "threshold",
            "Probability at or above which a patient is predicted as the class; the summary row has the median",
            "0 to 1",
            Kind.ESTIMATE,
        ),
        Column("chosen_on", "Patients used to choose the threshold; never the tested patients"),
        Column("n_chosen_on", "Number of patients used to choose the threshold", "patients", Kind.COUNT),
        Column("n_positive_chosen_on", "Of these, patients of the class", "patients", Kind.COUNT),
        Column(
            "sensitivity",
            "Sensitivity: share of the tested patients of the class who are predicted as the class",
            "0 to 1",
            Kind.ESTIMATE,
        ),
        *bounds("0 to 1", kind=Kind.ESTIMATE, low="sensitivity_ci_low", high="sensitivity_ci_high"),
        Column(
            "specificity",
            "Specificity: share of the other tested patients who are not predicted as the class",
            "0 to 1",
            Kind.ESTIMATE,
        ),
        *bounds("0 to 1", kind=Kind.ESTIMATE, low="specificity_ci_low", high="specificity_ci_high"),
        Column("n", "Patients tested", "patients", Kind.COUNT),
        Column("n_positive", "Of these, patients of the class", "patients", Kind.COUNT),
    ),
    place=100,
    digits=PROBABILITY_DIGITS,  # a threshold is a probability: with fewer digits it would call other patients,
    rows=lambda basis: threshold_rows(basis.predictions, basis.tuning, basis.weights, basis.settings),
    notes="Only the summary rows have intervals: a single fold tests too few patients.",
)
DECISION_CURVE = DerivedTable(
    "decision_curve.csv",
    "model x class x threshold",
    (
        MODEL,
        Column("class", "Class that the treatment decision is about"),
        Column(
            "threshold",
            "Probability at or above which a patient is treated as belonging to the class",
            "0 to 1",
            Kind.NUMBER,
        ),
        *interval(
            "Net benefit per patient: true positives minus false positives x threshold / (1 - threshold)",
            "true positives per patient",
            name="net_benefit",
        ),
        Column("treat_all", "Net benefit of treating everybody", "true positives per patient", Kind.NUMBER),
        Column("treat_none", "Net benefit of treating nobody", "true positives per patient", Kind.NUMBER),
        N,
        Column("n_positive", "Patients of the class", "patients", Kind.COUNT),
    ),
    place=110,
    rows=lambda basis: decision_rows(basis.predictions, basis.weights, basis.settings),
    notes="A model is worth using at a threshold where its net benefit exceeds both treat_all and treat_none.",
)
_NOT_SHOWN = Estimate(None, None, None, "")


def threshold_rows(
    predictions: Predictions,
    tuning: Mapping[str, Sequence[TuneFold]],
    weights: NDArray[np.float64],
    settings: StatisticsSection,
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of thresholds.csv: for each model and class one row over all folds, then one per fold.

    Args:
        predictions: out of fold.
        tuning: by model, the tune patients of every fold; a model may be missing.
        weights: as from `draw_resamples`.
        settings: the rule.
    """
    for model, probabilities in predictions.probabilities.items():
        sample = trained_sample(predictions.labels, probabilities, predictions.fold, weights)
        for k, name in enumerate(predictions.classes):
            chosen = {(t.repeat, t.fold): _choose(t, k, settings) for t in tuning.get(model, ())}
            limits = _limit_per_patient(predictions, chosen)
            called = probabilities[:, :, k] >= limits
            yield {
                "model": model,
                "class": name,
                "rule": _rule(settings),
                "repeat": ALL,
                "fold": ALL,
                **_overall(predictions.labels == k, called, limits, sample, settings),
            }
            for tune in tuning.get(model, ()):
                yield {
                    "model": model,
                    "class": name,
                    "rule": _rule(settings),
                    "repeat": tune.repeat,
                    "fold": tune.fold,
                    **_of_fold(predictions, tune, k, called, chosen[tune.repeat, tune.fold]),
                }


def _rule(settings: StatisticsSection) -> str:
    if settings.threshold_rule == "youden":
        return "youden"
    return f"{settings.threshold_rule} at least {settings.threshold_target:g}"


def _choose(tune: TuneFold, k: int, settings: StatisticsSection) -> float | None:
    return choose_threshold(
        tune.probabilities[:, k],
        tune.labels == k,
        rule=settings.threshold_rule,
        target=settings.threshold_target,
    )


def _limit_per_patient(
    predictions: Predictions, chosen: Mapping[tuple[int, int], float | None]
) -> NDArray[np.float64]:
    """Give every patient the threshold of the fold it was tested in: float64 (repeats, n), NaN without one."""
    limits = np.full(predictions.fold.shape, np.nan)
    for (repeat, fold), threshold in chosen.items():
        if threshold is not None:
            limits[repeat, predictions.fold[repeat] == fold] = threshold
    return limits


def _overall(
    is_positive: NDArray[np.bool_],
    called: NDArray[np.bool_],
    limits: NDArray[np.float64],
    sample: Sample,
    settings: StatisticsSection,
) -> Mapping[str, Any]:
    known = np.isfinite(limits).all(axis=0)
    if known.any():
        rates = called[:, known].mean(axis=0), 1 - called[:, known].mean(axis=0)
        tested = replace(sample, labels=sample.labels[known], weights=sample.weights[known])
        sensitivity = rate_estimate(rates[0], is_positive[known], tested, settings.confidence)
        specificity = rate_estimate(rates[1], ~is_positive[known], tested, settings.confidence)
        chosen_on = "the tune patients of each fold"
    else:
        sensitivity = specificity = _NOT_SHOWN
        chosen_on = f"{NOT_ESTIMABLE}: there are no predictions of tune patients of both kinds"
    return {
        "threshold": or_not_estimable(float(np.median(limits[:, known])) if known.any() else None),
        "chosen_on": chosen_on,
        "n_chosen_on": None,
        "n_positive_chosen_on": None,
        **_rate_cells("sensitivity", sensitivity),
        **_rate_cells("specificity", specificity),
        "n": int(known.sum()),
        "n_positive": int(is_positive[known].sum()),
    }


def rate_estimate(
    per_patient: NDArray[np.float64],
    members: NDArray[np.bool_],
    sample: Sample,
    confidence: float,
) -> Estimate:
    """Return the share of some patients who are called right, with its interval.

    Args:
        per_patient: float64 (n,), share of the repeats in which a patient is called right.
        members: bool (n,), the patients that the share is of.
        sample: the n patients that are resampled.
        confidence: level of the interval.
    """
    if not members.any():
        return without_estimate("no such patient")
    weights = sample.weights[members]
    draws = ratio(per_patient[members] @ weights, weights.sum(axis=0))
    return bootstrap_interval(
        draws,
        scale="logit",
        smallest_n=int(members.sum()),
        confidence=confidence,
        sample=sample.of_share(float(members.mean())),
    )


def _rate_cells(name: str, estimate: Estimate) -> Mapping[str, Any]:
    return {
        name: or_not_estimable(estimate.value),
        f"{name}_ci_low": or_not_estimable(estimate.low),
        f"{name}_ci_high": or_not_estimable(estimate.high),
    }


def _of_fold(
    predictions: Predictions, tune: TuneFold, k: int, called: NDArray[np.bool_], threshold: float | None
) -> Mapping[str, Any]:
    tested = predictions.fold[tune.repeat] == tune.fold
    is_positive, called_here = predictions.labels[tested] == k, called[tune.repeat, tested]
    rates = {"sensitivity": called_here[is_positive], "specificity": ~called_here[~is_positive]}
    cells: dict[str, Any] = {}
    for name, right in rates.items():
        known = threshold is not None and len(right) > 0
        # An interval from the few patients of one fold would only mislead; the row over all folds has one.
        cells |= {name: or_not_estimable(float(right.mean()) if known else None)}
        cells |= {f"{name}_ci_low": None, f"{name}_ci_high": None}
    positives = int((tune.labels == k).sum())
    lacking = positives in (0, len(tune.labels))
    return {
        "threshold": or_not_estimable(threshold),
        "chosen_on": f"{NOT_ESTIMABLE}: the tune patients are all of one kind"
        if lacking
        else f"the tune patients of repeat {tune.repeat}, fold {tune.fold}",
        "n_chosen_on": len(tune.labels),
        "n_positive_chosen_on": positives,
        **cells,
        "n": int(tested.sum()),
        "n_positive": int(is_positive.sum()),
    }


def decision_rows(
    predictions: Predictions, weights: NDArray[np.float64], settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of decision_curve.csv; `weights` as from `draw_resamples`.

    Raises:
        ConfigError: a class to decide on does not exist.
    """
    classes, thresholds = predictions.classes, np.array(DECISION_THRESHOLDS)
    for name in settings.decision_classes:
        if name not in classes:
            raise ConfigError(
                f"aggregate.statistics.decision_classes names {name!r}; expected one of {', '.join(classes)}"
            )
    for model, probabilities in predictions.probabilities.items():
        sample = trained_sample(predictions.labels, probabilities, predictions.fold, weights)
        for name in settings.decision_classes or classes:
            k = classes.index(name)
            is_positive = predictions.labels == k
            smallest = max(1, int(min(is_positive.sum(), (~is_positive).sum())))
            benefit = net_benefit(probabilities[:, :, k], is_positive, weights, thresholds)
            everyone = np.ones((1, len(is_positive)))
            treat_all = net_benefit(everyone, is_positive, weights[:, :1], thresholds)[:, 0]
            for threshold, draws, of_all in zip(DECISION_THRESHOLDS, benefit, treat_all, strict=True):
                estimate = bootstrap_interval(
                    draws,
                    scale="linear",
                    smallest_n=smallest,
                    confidence=settings.confidence,
                    sample=sample,
                )
                yield {
                    "model": model,
                    "class": name,
                    "threshold": threshold,
                    **interval_cells(estimate, name="net_benefit"),
                    "treat_all": float(of_all),
                    "treat_none": 0.0,
                    "n": len(is_positive),
                    "n_positive": int(is_positive.sum()),
                }
