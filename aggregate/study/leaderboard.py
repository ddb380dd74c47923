"""leaderboard.csv: every configuration of a study, ranked, with its cost beside its quality."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.statistics.intervals import Estimate
from aggregate.store.fit_cache import Costs
from aggregate.study.basis import StudyBasis, StudyTable
from aggregate.study.configurations import COST_COLUMNS, FACTOR_LEVEL, cost_cells, level_cells
from aggregate.tables.rows import interval_cells, numeric
from aggregate.tables.shared_columns import MODEL, N, interval
from aggregate.tables.table import Column, Kind, Step


def leaderboard_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the configurations, the best macro AUC first, then the baselines in their order."""
    scores = dict(zip(basis.names, basis.tune_scores.mean(axis=1).tolist(), strict=True))
    n, known = len(basis.predictions.patient_ids), {one.name: one for one in basis.configurations}
    best = pareto(basis)
    for rank, name in enumerate(ranking(basis), 1):
        yield {
            "rank": rank,
            "model": name,
            **level_cells(known[name].levels),
            **interval_cells(basis.estimates[name]),
            "n": n,
            "tune_score": scores[name],
            **cost_cells(known[name].costs),
            "pareto": name in best,
        }
    for name in basis.predictions.models:
        if name not in known:
            yield {
                "rank": None,
                "model": name,
                **level_cells(dict.fromkeys(basis.factors, "")),
                **interval_cells(basis.estimates[name]),
                "n": n,
                "tune_score": None,
                **cost_cells(Costs()),
                "pareto": None,
            }


def ranking(basis: StudyBasis) -> Sequence[str]:
    """Return the configurations by their macro AUC, the best first; equal ones in the order of the grid."""
    return sorted(basis.names, key=lambda name: -_value(basis.estimates[name]))


def pareto(basis: StudyBasis) -> frozenset[str]:
    """Return the configurations that no other one beats in macro AUC at a time to train that is no longer."""
    timed = [one for one in basis.configurations if one.costs.fit_s is not None]
    timed.sort(key=lambda one: (numeric(one.costs.fit_s) or 0.0, -_value(basis.estimates[one.name])))
    best, found = -np.inf, []
    for one in timed:
        value = _value(basis.estimates[one.name])
        if value > best:
            best = value
            found.append(one.name)
    return frozenset(found)


def _value(estimate: Estimate) -> float:
    return -np.inf if estimate.value is None else estimate.value


LEADERBOARD = StudyTable(
    "leaderboard.csv",
    "configuration of the study, and baseline",
    (
        Column("rank", "Place by the macro AUC, from 1; empty for baselines", "", Kind.COUNT),
        MODEL,
        FACTOR_LEVEL,
        *interval(
            "Macro AUC, mean over the repeats, of the out-of-fold predictions of all patients", "0 to 1"
        ),
        N,
        Column(
            "tune_score",
            "Score on the tune patients, mean over the folds: macro AUC, or the negative of the log loss (`select_by`)",
            "",
            Kind.NUMBER,
        ),
        *COST_COLUMNS,
        Column(
            "pareto",
            "yes where no other configuration has a higher macro AUC and takes less time to train",
            "",
            Kind.YES_NO,
        ),
    ),
    place=410,
    step=Step.STUDY,
    rows=leaderboard_rows,
    notes=(
        "The estimate of the first row is optimistic, because it is the largest of many: selection.csv has the honest one. "
        "Intervals are those of performance.csv, not adjusted for the number of configurations."
    ),
)
