"""outcome_comparisons.csv: differences between models on the same patients."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aggregate.outcomes.statistics.measured import Key, sample_of
from aggregate.outcomes.tables.basis import OutcomeBasis, OutcomeTable
from aggregate.outcomes.tables.performance import AT, N_EVENTS, n_events_of
from aggregate.statistics.comparisons import Difference, holm, paired_bootstrap
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.tables.comparisons import model_pairs
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import N, bounds
from aggregate.tables.table import Column, Kind, Step

Pair = tuple[str, str]


def comparison_rows(basis: OutcomeBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the rows, the primary comparison first; its metric is the first one that models are compared by."""
    pairs = model_pairs(basis.predictions.models, basis.settings)
    primary = basis.settings.primary
    declared = None if primary is None else (primary.model_a, primary.model_b)
    main = next(name for name, metric in basis.metrics.items() if metric.is_compared)
    for key in _compared(basis):
        found = {pair: _difference(basis, pair, key) for pair in pairs}
        exploratory = [pair for pair in pairs if not (pair == declared and key[0] == main)]
        adjusted = _adjusted({pair: found[pair][0] for pair in exploratory})
        for pair in pairs:
            is_primary = pair not in exploratory
            p_adjusted, n = (found[pair][0].p_value, 1) if is_primary else adjusted.get(pair, (None, None))
            yield _row(basis, pair, key, found[pair], (p_adjusted, n), is_primary=is_primary)


def _compared(basis: OutcomeBasis) -> list[Key]:
    first = next(iter(basis.measured.values()))
    keys = [key for key in first.metrics if basis.metrics[key[0]].is_compared]
    return sorted(keys, key=lambda key: list(basis.metrics).index(key[0]))


def _difference(basis: OutcomeBasis, pair: Pair, key: Key) -> tuple[Difference, float | None]:
    a, b = (basis.measured[model] for model in pair)
    sample = sample_of(basis.predictions, a.losses - b.losses, basis.weights)
    found = paired_bootstrap(
        a.metrics[key].mean(axis=0),
        b.metrics[key].mean(axis=0),
        smallest_n=int(np.bincount(basis.outcome.codes).min()),
        confidence=basis.settings.confidence,
        sample=sample,
    )
    return found, sample.design_effect


def _adjusted(found: Mapping[Pair, Difference]) -> Mapping[Pair, tuple[float, int]]:
    known = {pair: of.p_value for pair, of in found.items() if of.p_value is not None}
    return (
        {pair: (p, len(known)) for pair, p in zip(known, holm(list(known.values())), strict=True)}
        if known
        else {}
    )


def _row(
    basis: OutcomeBasis, pair: Pair, key: Key, difference: tuple[Difference, float | None],
    adjusted: tuple[float | None, int | None], *, is_primary: bool,
) -> Mapping[str, Any]:  # fmt: skip
    found, effect = difference
    return {
        "model_a": pair[0],
        "model_b": pair[1],
        "metric": key[0],
        "at": key[1],
        "difference": or_not_estimable(found.value),
        "ci_low": or_not_estimable(found.low),
        "ci_high": or_not_estimable(found.high),
        "p_value": or_not_estimable(found.p_value),
        "p_adjusted": or_not_estimable(adjusted[0]),
        "n_comparisons": adjusted[1],
        "primary": is_primary,
        "n": len(basis.outcome),
        "n_events": n_events_of(basis),
        "note": f"{NOT_ESTIMABLE}: {found.reason}"
        if found.reason
        else ""
        if effect is None
        else f"design effect {effect:.2f}",
    }


OUTCOME_COMPARISONS = OutcomeTable(
    "outcome_comparisons.csv",
    "pair of models x metric",
    (
        Column("model_a", "First model"),
        Column("model_b", "Second model"),
        Column("metric", "Name of the metric, as in outcome_performance.csv"),
        AT,
        Column("difference", "model_a minus model_b, mean over the repeats", "metric", Kind.ESTIMATE),
        *bounds("metric", kind=Kind.ESTIMATE),
        Column("p_value", "Two-sided, of the paired bootstrap of the patients", "0 to 1", Kind.P_VALUE),
        Column("p_adjusted", "Adjusted for the comparisons of this metric by Holm's method; that of the primary one is not", "0 to 1", Kind.P_VALUE),
        Column("n_comparisons", "Comparisons adjusted for", "", Kind.COUNT),
        Column("primary", "yes for the comparison declared as primary in the configuration", "", Kind.YES_NO),
        N,
        N_EVENTS,
        Column("note", "Why a number is not estimable; otherwise the design effect in the test's variance"),
    ),
    place=740,
    step=Step.OUTCOME,
    rows=comparison_rows,
    tasks=("survival", "regression", "ordinal"),
    notes=(
        "All but the primary comparison are exploratory. The interval rests on the differences on the same resamples of the patients, "
        "and is widened by the design effect of the difference of the models' losses."
    ),
)  # fmt: skip
