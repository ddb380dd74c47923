"""From the fits of a cross-validation to out-of-fold predictions of an outcome, and how they stand while it runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.study_cohort import StudyCohort
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.fitting.progress import SoFar
from aggregate.outcomes.outcome import PROBABILITY_PREFIX, RISK, Outcome, times_of
from aggregate.outcomes.predictions import DRAWN, OutcomePredictions, percentile_among
from aggregate.outcomes.statistics.measured import Floats
from aggregate.outcomes.statistics.survival import Observed, harrell_c
from aggregate.planning.fit_tasks import FitTask
from aggregate.planning.splits import fold_of_test
from aggregate.store.fit_cache import Fit
from pipeline.drawn_outcomes import read_drawn_outcomes
from pipeline.errors import ResultsError


def outcome_predictions_of(study: StudyCohort, result: OutOfFold, table: Path) -> OutcomePredictions:
    """Gather what the models say of their test patients, beside what a synthetic cohort was drawn from.

    Args:
        study: the patients.
        result: every fit.
        table: the cohort table.

    Raises:
        ResultsError: the cohort has no outcome.
    """
    if study.outcome is None:
        raise ResultsError("expected an outcome ([aggregate] task), found classes")
    fold = fold_of_test(result.folds, len(study.patients))
    tested = np.flatnonzero((fold >= 0).all(axis=0))
    outcome = study.outcome
    values = {name: _of_test(study, result, name)[:, tested] for name in result.fits}
    percentiles = {}
    if outcome.task == "survival":
        percentiles = {name: _percentiles(study, result, name)[:, tested] for name in result.fits}
    names = tuple(study.patients.patient_ids[i] for i in tested)
    measured = Outcome.of(outcome.task, outcome.values[tested], outcome.section)
    drawn = _drawn(measured, names, table)
    if drawn is not None:
        values[DRAWN] = np.tile(drawn, (len(fold), 1, 1))
    return OutcomePredictions(measured, names, fold[:, tested], values, percentiles)


def _of_test(study: StudyCohort, result: OutOfFold, name: str) -> NDArray[np.float64]:
    repeats = sorted({fold.repeat for fold in result.folds})
    table = np.full((len(repeats), len(study.patients), len(study.columns)), np.nan)
    for fold, fit in zip(result.folds, result.fits[name], strict=True):
        table[repeats.index(fold.repeat), fold.test] = fit.test
    return table


def _percentiles(study: StudyCohort, result: OutOfFold, name: str) -> NDArray[np.float64]:
    """Return where the risk of each test patient stands among those of the tune patients of its fold (repeats, n)."""
    repeats = sorted({fold.repeat for fold in result.folds})
    table = np.full((len(repeats), len(study.patients)), np.nan)
    place = study.columns.index(RISK)
    for fold, fit in zip(result.folds, result.fits[name], strict=True):
        table[repeats.index(fold.repeat), fold.test] = percentile_among(
            fit.test[:, place], fit.tune[:, place]
        )
    return table


def _drawn(outcome: Outcome, patient_ids: Sequence[str], table: Path) -> Floats | None:
    """Return what an observer says who knows all but chance (n, columns); None of real patients, and of other columns."""
    drawn, section = read_drawn_outcomes(table), outcome.section
    if drawn is None:
        return None
    if outcome.task == "survival" and (section.time, section.event) == (
        drawn.survival.time,
        drawn.survival.event,
    ):
        risk = _chosen(drawn.survival.log_hazard, patient_ids)
        times = np.array(times_of(section))
        hazard = (times / drawn.survival.scale) ** drawn.survival.shape
        return np.column_stack([risk, np.exp(-hazard * np.exp(risk)[:, None])])
    if outcome.task == "regression" and section.column == drawn.number.column:
        return _chosen(drawn.number.mean, patient_ids)[:, None]
    if outcome.task == "ordinal" and section.column == drawn.grade.column:
        shares = np.array([drawn.grade.probabilities[name] for name in patient_ids])
        order = [name.removeprefix(PROBABILITY_PREFIX) for name in outcome.columns]
        if order == list(drawn.grade.order):
            return np.asarray(shares, dtype=np.float64)
    return None


def _chosen(numbers: Mapping[str, float], patient_ids: Sequence[str]) -> Floats:
    return np.array([numbers[name] for name in patient_ids], dtype=np.float64)


_SO_FAR: Mapping[str, str] = {
    "survival": "C-index",
    "regression": "correlation",
    "ordinal": "correlation of the expected grade",
}


def told_so_far(outcome: Outcome) -> SoFar:
    """Return what is told of the models of an outcome while they are trained."""
    return SoFar(_SO_FAR[outcome.task], lambda done: measured_so_far(done, outcome))


def measured_so_far(done: Sequence[tuple[FitTask, Fit]], outcome: Outcome) -> float | None:
    """Return Harrell's C-index within the folds, or the correlation with the number or grade, of the patients tested until now."""
    found = [_measured(fit.test, outcome, task.fold.test) for task, fit in done]
    known = [value for value in found if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _measured(said: Floats, outcome: Outcome, tested: NDArray[np.intp]) -> float | None:
    values = outcome.values[tested]
    if outcome.task == "survival":
        together = np.ones((len(tested), len(tested)), dtype=np.bool_)
        return float(harrell_c(said[:, 0], Observed(values, np.ones((len(tested), 1))), together)[0])
    expected = said[:, 0] if outcome.task == "regression" else said @ np.arange(said.shape[1])
    if np.ptp(expected) == 0 or np.ptp(values) == 0:
        return None
    return float(np.corrcoef(expected, values)[0, 1])
