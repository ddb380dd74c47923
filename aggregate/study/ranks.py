"""ranks.csv: mean ranks over the folds and the groups that cannot be told apart, the data of a critical-difference diagram.

The usual diagram (Demsar 2006) draws Nemenyi's critical difference of the mean ranks. That is not done here, for two reasons.
Whether two models differ by their mean ranks depends on the other models that are ranked with them (Benavoli, Corani and Mangili
2016, JMLR 17(5):1). And it takes the folds for independent data sets, which they are not: their training sets overlap, so that
Friedman's and Wilcoxon's tests reject too often. The ranks are only shown; what differs is decided by the corrected t-test of
each pair with Holm's adjustment.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from aggregate.study.basis import StudyBasis, StudyTable
from aggregate.study.contrasts import Scores, adjusted, over_folds, scores_of
from aggregate.study.study_comparisons import compared_best
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import MODEL
from aggregate.tables.table import Column, Kind, Step

Group = frozenset[int]


def rank_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the best configurations, the smallest mean rank first."""
    names = compared_best(basis)
    scores = scores_of(basis, names)
    known = scores.per_fold[:, np.isfinite(scores.per_fold).all(axis=0)]
    means, groups = mean_ranks(known), _groups(basis, scores)
    order = sorted(range(len(names)), key=lambda i: (means[i] if known.size else 0.0, i))
    groups = sorted(groups, key=lambda group: [order.index(i) for i in sorted(group, key=order.index)])
    for i in order:
        yield {
            "model": names[i],
            "mean_rank": or_not_estimable(float(means[i]) if known.size else None),
            "mean_auc": or_not_estimable(float(known[i].mean()) if known.size else None),
            "n_folds": known.shape[1],
            "n_models": len(names),
            "groups": " ".join(str(number) for number, group in enumerate(groups, 1) if i in group),
        }


def mean_ranks(per_fold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean rank of each model over the folds; per_fold (models, folds), rank 1 = the highest, ties share ranks."""
    return np.asarray(rankdata(-per_fold, axis=0).mean(axis=1))


def maximal_groups(n: int, differ: Sequence[tuple[int, int]]) -> list[Group]:
    """Return the largest groups of 0 to n - 1 within which no pair differs (Bron and Kerbosch 1973, with a pivot)."""
    everyone = frozenset(range(n))
    alike = {i: everyone - {i} - {b for a, b in differ if a == i} - {a for a, b in differ if b == i}
             for i in everyone}  # fmt: skip

    def extended(group: Group, candidates: Group, done: Group) -> Iterator[Group]:
        if not candidates and not done:
            yield group
            return
        pivot = max(candidates | done, key=lambda i: len(alike[i] & candidates))
        for i in sorted(candidates - alike[pivot]):
            yield from extended(group | {i}, candidates & alike[i], done & alike[i])
            candidates, done = candidates - {i}, done | {i}

    return list(extended(frozenset(), everyone, frozenset()))


def _groups(basis: StudyBasis, scores: Scores) -> list[Group]:
    pairs = list(combinations(range(len(scores.names)), 2))
    differences = (scores.difference(scores.names[a], scores.names[b]) for a, b in pairs)
    p_values = adjusted([over_folds(basis, scores, one).found.p_value for one in differences])
    level = 1 - basis.statistics.confidence
    differ = [pair for pair, (p, _) in zip(pairs, p_values, strict=True) if p is not None and p < level]
    return maximal_groups(len(scores.names), differ)


RANKS = StudyTable(
    "ranks.csv",
    "configuration among the best ones",
    (
        MODEL,
        Column(
            "mean_rank",
            "Mean over the folds of the place among these configurations; 1 is the highest macro AUC of a fold",
            "",
            Kind.ESTIMATE,
        ),
        Column("mean_auc", "Mean macro AUC of the folds", "0 to 1", Kind.ESTIMATE),
        Column("n_folds", "Folds of all repeats that hold every class", "folds", Kind.COUNT),
        Column("n_models", "Configurations that are ranked", "", Kind.COUNT),
        Column("groups", "Numbers of the groups it belongs to; two in one group were not shown to differ"),
    ),
    place=430,
    step=Step.STUDY,
    rows=rank_rows,
    notes=(
        "A group is as large as it can be without two configurations that differ by Nadeau and Bengio's corrected t-test after "
        "Holm's adjustment (family `best` of study_comparisons.csv). The mean ranks decide nothing: whether two of them differ "
        "would depend on the other configurations (Benavoli et al. 2016), and folds are not independent data sets, so "
        "Friedman's, Nemenyi's and Wilcoxon's tests do not hold."
    ),
)
