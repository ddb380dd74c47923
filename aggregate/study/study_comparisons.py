"""study_comparisons.csv: which of the best configurations differ, and which are better than the plainest one.

Of hundreds of configurations nobody reads all pairs. Two families answer what is asked, each adjusted by itself:

- "best": all pairs of the `compare_best` configurations with the highest macro AUC. Their choice on the same patients is not part
  of the adjustment.
- "plainest": every configuration minus the plainest one, which was chosen before the results. The best one is among all that are
  adjusted for, so this answers honestly whether the best of the grid is better than the plainest.

The primary comparison, if it was declared, is a family of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from aggregate.study.basis import StudyBasis, StudyTable
from aggregate.study.contrasts import Metric, Scores, Tested, adjusted_cells, both_tests, scores_of
from aggregate.study.leaderboard import ranking
from aggregate.tables.shared_columns import METRIC_COMPARED, N, bounds
from aggregate.tables.table import Column, Kind, Step

PRIMARY = "primary"
BEST = "best"
PLAINEST = "plainest"


@dataclass(frozen=True)
class Compared:
    """Two configurations by both tests."""

    model_a: str
    model_b: str
    tested: tuple[Tested, Tested]


def compared_best(basis: StudyBasis) -> list[str]:
    """Return the best configurations, whose pairs are all compared."""
    return list(ranking(basis)[: basis.study.compare_best])


def plainest(basis: StudyBasis) -> str:
    """Return the configuration that every other one is compared with."""
    return basis.study.plainest or basis.names[0]


def comparison_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the primary comparison, the pairs of the best configurations, and each configuration minus the plainest."""
    yield from _primary_rows(basis)
    best = compared_best(basis)
    yield from _family_rows(basis, BEST, list(combinations(best, 2)), scores_of(basis, best))
    plain, every = plainest(basis), ranking(basis)
    against = [(name, plain) for name in every if name != plain]
    yield from _family_rows(basis, PLAINEST, against, scores_of(basis, every))


def _primary_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    primary = basis.statistics.primary
    if primary is None:
        return
    pair = (primary.model_a, primary.model_b)
    if set(pair) <= set(basis.names):
        scores = scores_of(basis, pair, primary.metric)
        yield from _family_rows(basis, PRIMARY, [pair], scores, primary.metric)


def _family_rows(
    basis: StudyBasis,
    family: str,
    pairs: Sequence[tuple[str, str]],
    scores: Scores,
    metric: Metric = "auc",
) -> Iterator[Mapping[str, Any]]:
    found = [Compared(a, b, both_tests(basis, scores, scores.difference(a, b))) for a, b in pairs]
    for one, by_test in zip(found, adjusted_cells([pair.tested for pair in found]), strict=True):
        for cells in by_test:
            yield {
                "family": family,
                "model_a": one.model_a,
                "model_b": one.model_b,
                "metric": metric,
                "n": len(basis.predictions.patient_ids),
                **cells,
            }


STUDY_COMPARISONS = StudyTable(
    "study_comparisons.csv",
    "family x pair of configurations x test",
    (
        Column("family", "Comparisons that are adjusted together"),
        Column("model_a", "Name of a configuration"),
        Column("model_b", "Name of another configuration"),
        METRIC_COMPARED,
        Column("test", "paired patient bootstrap; Nadeau-Bengio corrected t over repeats x folds"),
        Column("difference", "Configuration a minus b, macro", "metric", Kind.ESTIMATE),
        *bounds("metric", kind=Kind.ESTIMATE),
        Column("p_value", "Two-sided p-value of no difference", "", Kind.P_VALUE),
        Column("p_adjusted", "p-value after Holm's adjustment over the family, per test", "", Kind.P_VALUE),
        Column("n_comparisons", "Number of comparisons adjusted together", "comparisons", Kind.COUNT),
        N,
        Column("note", "Why a number is not estimable; otherwise the design effect in the test's variance"),
    ),
    place=425,
    step=Step.STUDY,
    words=(
        "family",
        {
            PRIMARY: "The comparison declared in [aggregate.statistics.primary], not adjusted",
            BEST: "All pairs of the `compare_best` best configurations",
            PLAINEST: "Every configuration minus the plainest one (`plainest`)",
        },
    ),
    rows=comparison_rows,
    notes=(
        "The best configurations were chosen on the patients on whom they are compared here. Luck has lifted the first of them "
        "more than the others, so the differences of the family `best` tend to be too large, and its p-values, which count the "
        "pairs of the family only, too small. The family `plainest` counts every configuration, and does not suffer from that; "
        "its differences of the best ones are too large all the same."
    ),
)
