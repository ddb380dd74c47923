"""learning_curve.csv: performance against the number of training patients, and a power law read beyond it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.fitting.smaller_training import CurvePoint
from aggregate.statistics.intervals import Estimate, bootstrap_interval, without_estimate
from aggregate.statistics.measures import Measurement, macro_auc
from aggregate.statistics.power_law import MOST_REFITS, PowerLaw, extrapolated_draws, why_no_law
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import trained_sample
from aggregate.study.basis import StudyBasis
from aggregate.tables.rows import interval_cells
from aggregate.tables.shared_columns import MODEL, N, interval
from aggregate.tables.table import Column, Kind, Step, Table

LEARNING_CURVE = Table(
    "learning_curve.csv",
    "configuration x number of training patients",
    (
        MODEL,
        Column(
            "share", "Share of the training patients of each fold; empty where extrapolated", "", Kind.NUMBER
        ),
        Column(
            "n_train", "Patients that a model was trained on, mean over the folds", "patients", Kind.COUNT
        ),
        Column(
            "n_tune",
            "Patients for early stopping and choices, mean over the folds; they shrink with the training patients",
            "patients",
            Kind.COUNT,
        ),
        Column(
            "extrapolated",
            "yes where a power law is read, and nothing was trained: a planning aid",
            "",
            Kind.YES_NO,
        ),
        *interval("Macro AUC of the out-of-fold predictions of all patients", "0 to 1"),
        N,
        Column("a", "Of the power law a - b n^(-c): the AUC with endless patients", "0 to 1", Kind.NUMBER),
        Column("b", "Of the power law", "", Kind.NUMBER),
        Column("c", "Of the power law: how fast a is approached", "", Kind.NUMBER),
    ),
    place=470,
    step=Step.STUDY,
    notes=(
        "Each share is stratified by class and holds the smaller ones; every model is tested on all test patients of its "
        "fold. The extrapolated rows are a planning aid, not a result: a power law with three numbers, "
        f"fitted to a few points weighted by their standard errors, and again on up to {MOST_REFITS} resamples of the test patients "
        "for its interval, which knows nothing of whether the law holds further on. `n_train` counts the training patients of one "
        "fold: with 5 folds and `tune_share` 0.2 a cohort of N patients trains on 0.64 N."
    ),
)


def learning_curve_rows(
    basis: StudyBasis, points: Sequence[CurvePoint], targets: Sequence[int]
) -> Iterator[Mapping[str, Any]]:
    """Yield, for each configuration, its points, the smallest first, then the power law read at the targets."""
    for name in dict.fromkeys(point.model for point in points):
        of_model = [point for point in points if point.model == name]
        measured = [_measured(basis, point) for point in of_model]
        for point, found in zip(of_model, measured, strict=True):
            yield {
                "model": name,
                "share": point.share,
                "n_train": round(point.n_train),
                "n_tune": round(point.n_tune),
                "extrapolated": False,
                **interval_cells(_estimate(basis, point, found)),
                "n": len(basis.predictions.labels),
                **_law_cells(None),
            }
        yield from _extrapolated_rows(basis, of_model, measured, sorted(set(targets)))


def _measured(basis: StudyBasis, point: CurvePoint) -> Measurement | None:
    if point.probabilities is None:
        return None
    return macro_auc(basis.predictions.labels, point.probabilities, basis.weights)


def _estimate(basis: StudyBasis, point: CurvePoint, found: Measurement | None) -> Estimate:
    if point.probabilities is None or found is None:
        return without_estimate(point.problem)
    return basis.estimate(point.probabilities, found)


def _extrapolated_rows(
    basis: StudyBasis,
    points: Sequence[CurvePoint],
    measured: Sequence[Measurement | None],
    targets: Sequence[int],
) -> Iterator[Mapping[str, Any]]:
    known = [
        (point, found.resampled)
        for point, found in zip(points, measured, strict=True)
        if found is not None and np.isfinite(found.resampled[0])
    ]
    sizes, values = [point.n_train for point, _ in known], [float(draws[0]) for _, draws in known]
    problem, law = why_no_law(sizes, values), None
    estimates = [without_estimate(problem or "")] * len(targets)
    if problem is None:
        law, read = extrapolated_draws(sizes, np.stack([draws for _, draws in known], axis=1), targets)
        largest = max((point for point, _ in known), key=lambda point: point.n_train)
        estimates = [_read_at(basis, largest, draws) for draws in read.T]
    for target, estimate in zip(targets, estimates, strict=True):
        yield {
            "model": points[0].model,
            "share": None,
            "n_train": target,
            "n_tune": None,
            "extrapolated": True,
            **interval_cells(estimate),
            "n": len(basis.predictions.labels),
            **_law_cells(law),
        }


def _read_at(basis: StudyBasis, largest: CurvePoint, draws: np.ndarray) -> Estimate:
    """Return the interval of an extrapolated AUC; the design effect is that of the largest training set."""
    labels, predictions = basis.predictions.labels, basis.predictions
    assert largest.probabilities is not None
    whole = trained_sample(labels, largest.probabilities, predictions.fold, basis.weights)
    sample = Sample(labels, basis.weights[:, : len(draws)], whole.design_effect)
    smallest = int(np.bincount(labels).min())
    confidence = basis.statistics.confidence
    found = bootstrap_interval(
        draws, scale="logit", smallest_n=smallest, confidence=confidence, sample=sample
    )
    method = f"power law, a planning aid, fitted again on {len(draws) - 1} resamples; {found.method}"
    return Estimate(found.value, found.low, found.high, method)


def _law_cells(law: PowerLaw | None) -> Mapping[str, float | None]:
    return dict(vars(law)) if law else dict.fromkeys("abc")
