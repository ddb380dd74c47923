"""How well risks and probabilities of survival foretell what was observed, for every resample of the patients at once.

scikit-survival computes the same for one cohort, and is the oracle of the tests; it takes no weights, and called once for each of
2,000 resamples it would take an hour. Censoring is weighed by the inverse of the chance to be still observed, from the
Kaplan-Meier curve of the censoring in all patients measured, anew in every resample (Uno, Cai, Pencina, D'Agostino, Wei: On the
C-statistics for evaluating overall adequacy of risk prediction procedures with censored survival data, 2011).

Only pairs of patients of one fold are compared, who were predicted by the same model: the risks of two models have no common
origin, and a model that says the same of everybody then has a C-index of 0.5 and not less.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.outcome import RISK, Values, survival_column, times_of
from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.outcomes.statistics.measured import Floats, Key, MeasuredModel, OutcomeMetric, pair_ratio

UNO, HARRELL, AUC, BRIER, IBS = "uno_c", "harrell_c", "auc_at", "brier_at", "integrated_brier"
_TIED = 1e-8
"""Risks closer than this are tied, as in scikit-survival."""
SURVIVAL_METRICS: Mapping[str, OutcomeMetric] = {
    UNO: OutcomeMetric(
        "Uno's C-index, truncated at the last horizon: chance that of two patients of one fold the one with the earlier event has the "
        "higher risk, whatever the censoring. 0.5 is chance.",
        is_compared=True,
    ),
    HARRELL: OutcomeMetric(
        "Harrell's C-index: the same among the pairs whose order is known; it depends on the censoring. 0.5 is chance."
    ),
    AUC: OutcomeMetric(
        "Time-dependent AUC at the horizon (cumulative cases, dynamic controls): chance that of two patients of one fold, one with the "
        "event by then and one without, the first has the lower predicted survival. 0.5 is chance."
    ),
    BRIER: OutcomeMetric(
        "Mean squared error of the probability of survival at the horizon. 0 is perfect; a coin gives 0.25.",
        "log",
        is_lower_better=True,
    ),
    IBS: OutcomeMetric(
        "Integrated Brier score: its mean over the time to the last horizon; discrimination and calibration together. Compare it with "
        "that of kaplan_meier, which says the same of everybody.",
        "log",
        is_lower_better=True,
        is_compared=True,
    ),
}


@dataclass(frozen=True, eq=False)
class Observed:
    """What was observed of n patients, and how they count in every draw.

    Attributes:
        values: event and time.
        weights: float64 (n, draws).
    """

    values: Values
    weights: Floats

    @property
    def time(self) -> Floats:
        """Time of each patient (n,)."""
        return np.asarray(self.values["time"], dtype=np.float64)

    @property
    def event(self) -> NDArray[np.bool_]:
        """Whether it ended with the event (n,)."""
        return np.asarray(self.values["event"], dtype=np.bool_)

    @cached_property
    def _steps(self) -> tuple[Floats, Floats]:
        """Distinct times (k,), and the chance to be still observed after each (k, draws)."""
        times, place = np.unique(self.time, return_inverse=True)
        of_time = (place[None, :] == np.arange(len(times))[:, None]).astype(np.float64)  # (k, n)
        here = of_time @ self.weights
        at_risk = np.cumsum(here[::-1], axis=0)[::-1]
        events, censored = (
            of_time @ (self.weights * self.event[:, None]),
            of_time @ (self.weights * ~self.event[:, None]),
        )
        left = at_risk - events  # who has the event at a time was not censored at it
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.where(left > 0, 1 - censored / left, 1.0)
        return times, np.cumprod(np.clip(kept, 0, 1), axis=0)

    def still_observed(self, times: Floats) -> Floats:
        """Return the chance to be still observed after each time (times, draws)."""
        known, chance = self._steps
        before = np.ones((1, chance.shape[1]))
        return np.vstack([before, chance])[np.searchsorted(known, times, side="right")]

    @cached_property
    def event_weights(self) -> Floats:
        """Weight of each patient over the chance to be still observed at the event, 0 without one (n, draws)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            weighed = self.weights / self.still_observed(self.time)
        return np.where(self.event[:, None] & (self.weights > 0), weighed, 0.0)

    @cached_property
    def is_earlier(self) -> NDArray[np.bool_]:
        """Whether the first of two patients had the event, and before the second left (n, n)."""
        time, event = self.time, self.event
        later = time[None, :] > time[:, None]
        tied = (time[None, :] == time[:, None]) & ~event[None, :]
        return np.asarray(event[:, None] & (later | tied))


def measure_survival(predictions: OutcomePredictions, model: str, observed: Observed) -> MeasuredModel:
    """Measure one model."""
    section = predictions.outcome.section
    found: dict[Key, list[Floats]] = {}
    for repeat, folds in enumerate(predictions.fold):
        together = folds[:, None] == folds[None, :]
        for key, value in _of_repeat(predictions, model, repeat, together, observed).items():
            found.setdefault(key, []).append(value)
    metrics = {key: np.stack(values) for key, values in found.items()}
    times = np.array(times_of(section))
    ends = Observed(observed.values, np.ones((len(predictions.patient_ids), 1)))
    survival = np.stack([predictions.column(model, survival_column(time)) for time in times], axis=2)
    losses = np.stack([_integrated(_brier_terms(ends, times, of)[..., 0], times) for of in survival])
    return MeasuredModel(metrics, losses)


def _of_repeat(
    predictions: OutcomePredictions, model: str, repeat: int, together: NDArray[np.bool_], observed: Observed
) -> Mapping[Key, Floats]:
    section = predictions.outcome.section
    risk = predictions.column(model, RISK)[repeat]
    horizons, times = section.horizons, np.array(times_of(section))
    last = f"{horizons[-1]:g}"
    found: dict[Key, Floats] = {
        (UNO, last): uno_c(risk, observed, together, tau=horizons[-1]),
        (HARRELL, ""): harrell_c(risk, observed, together),
    }
    survival = np.stack([predictions.column(model, survival_column(time))[repeat] for time in times], axis=1)
    errors = np.stack([brier(observed, time, survival[:, k]) for k, time in enumerate(times)])
    for horizon in horizons:
        place = int(np.flatnonzero(times == horizon)[0])
        found[AUC, f"{horizon:g}"] = auc_at(-survival[:, place], observed, together, horizon)
        found[BRIER, f"{horizon:g}"] = errors[place]
    found[IBS, last] = _integrated(errors.T, times)
    return found


def uno_c(risk: Floats, observed: Observed, together: NDArray[np.bool_], *, tau: float) -> Floats:
    """Return Uno's C-index of risks (n,) among the pairs that stand together, truncated at a time (draws,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(observed.weights > 0, observed.event_weights**2 / observed.weights, 0.0)
    first = np.where(observed.time[:, None] < tau, squared, 0.0)
    comparable = (observed.is_earlier & together).astype(np.float64)
    return pair_ratio(comparable * _higher(risk), comparable, first, observed.weights)


def harrell_c(risk: Floats, observed: Observed, together: NDArray[np.bool_]) -> Floats:
    """Return Harrell's C-index of risks (n,) among the pairs that stand together (draws,)."""
    comparable = (observed.is_earlier & together).astype(np.float64)
    return pair_ratio(comparable * _higher(risk), comparable, observed.weights, observed.weights)


def auc_at(risk: Floats, observed: Observed, together: NDArray[np.bool_], time: float) -> Floats:
    """Return the cumulative dynamic AUC of risks (n,) at a time among the pairs that stand together (draws,)."""
    is_case, is_control = observed.event & (observed.time <= time), observed.time > time
    comparable = (is_case[:, None] & is_control[None, :] & together).astype(np.float64)
    return pair_ratio(comparable * _higher(risk), comparable, observed.event_weights, observed.weights)


def _higher(risk: Floats) -> Floats:
    """Return 1 where the first of two has the higher risk, 1/2 where they are tied (n, n)."""
    difference = risk[:, None] - risk[None, :]
    return np.where(np.abs(difference) <= _TIED, 0.5, (difference > 0).astype(np.float64))


def brier(observed: Observed, time: float, survival: Floats) -> Floats:
    """Return the Brier score at a time of probabilities of survival (n,), for every draw (draws,)."""
    terms = _brier_terms(observed, np.array([time]), survival[:, None])[:, 0]
    return np.asarray(terms.sum(axis=0) / observed.weights.sum(axis=0), dtype=np.float64)


def _brier_terms(observed: Observed, times: Floats, survival: Floats) -> Floats:
    """Return what each patient adds to the Brier score at each time (n, times, draws)."""
    has_event = observed.event[:, None] & (observed.time[:, None] <= times[None, :])  # (n, times)
    is_free = observed.time[:, None] > times[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_free = observed.weights[:, None, :] / observed.still_observed(times)[None]
    dead = np.where(has_event, survival**2, 0.0)[..., None] * observed.event_weights[:, None, :]
    return np.asarray(dead + np.where(is_free[..., None], (1 - survival[..., None]) ** 2 * of_free, 0.0))


def _integrated(values: Floats, times: Floats) -> Floats:
    """Return the mean over the time of values (..., times)."""
    if len(times) == 1:
        return values[..., 0]
    return np.asarray(np.trapezoid(values, times, axis=-1) / (times[-1] - times[0]), dtype=np.float64)
