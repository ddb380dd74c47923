"""Tables of survival alone: curves of the risk groups, the groups themselves, and calibration at a horizon."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.outcome import Values, survival_column
from aggregate.outcomes.tables.basis import OutcomeBasis, OutcomeTable
from aggregate.outcomes.tables.performance import N_EVENTS
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import HIGH, LOW, MODEL, N
from aggregate.tables.table import Column, Kind, Step

EVERYBODY = "all"
_NAMES = {2: ("low", "high"), 3: ("low", "middle", "high")}
GROUP = Column("group", "Risk group: low, (middle,) high; all: every patient")
_SURVIVAL = (
    Column("survival", "Share without the event, by Kaplan and Meier", "0 to 1", Kind.ESTIMATE),
    Column("ci_low", f"{LOW}, log-log scale", "0 to 1", Kind.ESTIMATE),
    Column("ci_high", HIGH, "0 to 1", Kind.ESTIMATE),
)


def curve_rows(basis: OutcomeBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of the curve of every group of every model, from time 0."""
    for model in basis.predictions.models:
        for name, members in groups_of(basis, model).items():
            values = basis.outcome.values[members]
            if len(values):
                yield from (
                    {"model": model, "group": name, **step}
                    for step in _steps(values, basis.settings.confidence)
                )


def _steps(values: Values, confidence: float) -> Iterator[Mapping[str, Any]]:
    # Of the extra `survival`, without which this task is refused.
    from sksurv.nonparametric import kaplan_meier_estimator  # noqa: PLC0415

    times, survival, (low, high) = kaplan_meier_estimator(
        values["event"], values["time"], conf_level=confidence, conf_type="log-log"
    )
    yield {
        "time": 0.0,
        "n_at_risk": len(values),
        "n_events": 0,
        "survival": 1.0,
        "ci_low": 1.0,
        "ci_high": 1.0,
    }
    for i, time in enumerate(times):
        yield {
            "time": float(time),
            "n_at_risk": int((values["time"] >= time).sum()),
            "n_events": int((values["event"] & (values["time"] == time)).sum()),
            "survival": float(survival[i]),
            "ci_low": or_not_estimable(_finite(low[i])),
            "ci_high": or_not_estimable(_finite(high[i])),
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def groups_of(basis: OutcomeBasis, model: str) -> Mapping[str, NDArray[np.intp]]:
    """Return the members of each risk group of a model, and all patients."""
    place = basis.predictions.risk_groups(model)
    names = _NAMES[basis.outcome.section.risk_groups]
    return {
        **{name: np.flatnonzero(place == number) for number, name in enumerate(names)},
        EVERYBODY: np.arange(len(place)),
    }


def risk_group_rows(basis: OutcomeBasis) -> Iterator[Mapping[str, Any]]:
    """Yield each group of each model with its survival at every horizon, and the log-rank test of the groups."""
    for model in basis.predictions.models:
        groups = groups_of(basis, model)
        chi2, p_value, reason = _log_rank(basis, model)
        for name, members in groups.items():
            values = basis.outcome.values[members]
            for horizon in basis.outcome.section.horizons:
                yield {
                    "model": model,
                    "group": name,
                    "horizon": horizon,
                    "n": len(members),
                    "n_events": int(values["event"].sum()),
                    "n_at_risk": int((values["time"] >= horizon).sum()),
                    **_at(values, horizon, basis.settings.confidence),
                    "log_rank_chi2": or_not_estimable(chi2),
                    "log_rank_p": or_not_estimable(p_value),
                    "note": reason,
                }


def _at(values: Values, time: float, confidence: float) -> Mapping[str, Any]:
    """Return the cells of the survival of some patients at a time; none where nobody is observed so long."""
    if not len(values) or values["time"].max() < time:
        return dict.fromkeys(("survival", "ci_low", "ci_high"), or_not_estimable(None))
    before = [step for step in _steps(values, confidence) if step["time"] <= time]
    return {name: before[-1][name] for name in ("survival", "ci_low", "ci_high")}


def _log_rank(basis: OutcomeBasis, model: str) -> tuple[float | None, float | None, str]:
    from sksurv.compare import compare_survival  # noqa: PLC0415

    place = basis.predictions.risk_groups(model)
    if len(np.unique(place)) < 2:
        return None, None, "all patients are in one group"
    chi2, p_value = compare_survival(basis.outcome.values, place)
    return float(chi2), float(p_value), ""


def calibration_rows(basis: OutcomeBasis) -> Iterator[Mapping[str, Any]]:
    """Yield, for every model and horizon, all patients and then groups of rising predicted survival: predicted and observed."""
    confidence = basis.settings.confidence
    for model in basis.predictions.values:
        for horizon in basis.outcome.section.horizons:
            predicted = basis.predictions.column(model, survival_column(horizon)).mean(axis=0)
            for number, members in enumerate(_parts(predicted, basis.settings.calibration_bins)):
                values = basis.outcome.values[members]
                yield {
                    "model": model,
                    "horizon": horizon,
                    "group": str(number) if number else EVERYBODY,
                    "predicted": float(predicted[members].mean()),
                    **_at(values, horizon, confidence),
                    "n": len(members),
                    "n_events": int((values["event"] & (values["time"] <= horizon)).sum()),
                }


def _parts(predicted: NDArray[np.float64], n_parts: int) -> list[NDArray[np.intp]]:
    """Return all patients, then parts of equal size by rising prediction; patients with one prediction stay together."""
    everybody = np.arange(len(predicted))
    ranks = np.searchsorted(np.sort(predicted), predicted)  # tied predictions share the lowest rank
    place = ranks * n_parts // len(predicted)
    return [everybody, *(np.flatnonzero(place == part) for part in np.unique(place))]


SURVIVAL_CURVES = OutcomeTable(
    "survival_curves.csv",
    "model x risk group x time",
    (
        MODEL,
        GROUP,
        Column("time", "Time of an event or a censoring, from 0", "unit of the outcome", Kind.NUMBER),
        Column("n_at_risk", "Patients still observed just before", "patients", Kind.COUNT),
        Column("n_events", "Patients with the event at this time", "patients", Kind.COUNT),
        *_SURVIVAL,
    ),
    place=750,
    step=Step.OUTCOME,
    rows=curve_rows,
    tasks=("survival",),
    notes=(
        "Kaplan-Meier curves by risk group. A patient's group comes from models that did not see the patient, and its cut-offs from the "
        "tune patients of the same fold, whom these were not trained on either: the risk is placed among theirs (percentile in "
        "survival_predictions.csv), the places are averaged over the repeats and cut in equal parts."
    ),
)
RISK_GROUPS = OutcomeTable(
    "risk_groups.csv",
    "model x risk group x horizon",
    (
        MODEL,
        GROUP,
        Column("horizon", "Time at which survival is told", "unit of the outcome", Kind.NUMBER),
        N,
        Column("n_events", "Of these, patients with the event, whenever", "patients", Kind.COUNT),
        Column("n_at_risk", "Of these, still observed at the horizon", "patients", Kind.COUNT),
        *_SURVIVAL,
        Column("log_rank_chi2", "Log-rank statistic of the groups of the model", "", Kind.ESTIMATE),
        Column(
            "log_rank_p",
            "Its p-value, which takes the groups as given and knows nothing of models trained on each other's test patients: exploratory",
            "0 to 1",
            Kind.P_VALUE,
        ),
        Column("note", "Why the test is not estimable"),
    ),
    place=760,
    step=Step.OUTCOME,
    rows=risk_group_rows,
    tasks=("survival",),
)
SURVIVAL_CALIBRATION = OutcomeTable(
    "survival_calibration.csv",
    "model x horizon x group of predicted survival",
    (
        MODEL,
        Column("horizon", "Time at which survival is predicted", "unit of the outcome", Kind.NUMBER),
        Column("group", "all, or a part of about equal size, from 1, by rising predicted survival"),
        Column("predicted", "Mean predicted survival, averaged over the repeats", "0 to 1", Kind.PROBABILITY),
        *_SURVIVAL,
        N,
        Column(N_EVENTS.name, "Of these, patients with the event until the horizon", "patients", Kind.COUNT),
    ),
    place=770,
    step=Step.OUTCOME,
    rows=calibration_rows,
    tasks=("survival",),
    notes="Observed survival is that of Kaplan and Meier; its interval knows the patients of the group only.",
)
