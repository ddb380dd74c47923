"""factor_effects.csv and factors.csv: which choice of a study matters.

Two levels of a factor are compared within matched pairs: configurations equal in all other factors. So a level that was only
tried together with weak models is not held against them. Where combinations are left out of the grid (`without`), fewer pairs
are matched, and their number is told. A spread over all levels of a factor leaves out levels that few configurations have, since
only combinations that were tried with every level can be compared.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.comparisons import holm, without_difference
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.statistics.training import design_effect
from aggregate.study.basis import StudyBasis, StudyTable
from aggregate.study.configurations import Described
from aggregate.study.contrasts import Scores, Tested, adjusted_cells, both_tests, scores_of
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import N, bounds
from aggregate.tables.table import Column, Kind, Step

NO_PAIR = "no two configurations differ in this factor alone"
NO_SET = "no combination of the other factors was tried with every level"
_RARE = 0.5
"""A level is rare that has fewer configurations than this share of what the commonest level has."""
Sets = Sequence[Mapping[str, int]]
"""For each combination of the other factors: level -> number of the configuration."""


@dataclass(frozen=True, eq=False)
class Effect:
    """Two levels of a factor, compared by both tests within matched pairs."""

    factor: str
    level_a: str
    level_b: str
    pairs: NDArray[np.float64]
    """Difference of each pair, float64 (pairs,)."""
    tested: tuple[Tested, Tested]


def varying(basis: StudyBasis) -> Mapping[str, tuple[str, ...]]:
    """Return the factors that have several levels, with these in the order of the grid."""
    found = {f: tuple(dict.fromkeys(one.levels[f] for one in basis.grid)) for f in basis.factors}
    return {factor: levels for factor, levels in found.items() if len(levels) > 1}


def matched_sets(configurations: Sequence[Described], factor: str) -> Sets:
    """Group the configurations that differ in one factor alone."""
    sets: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for number, one in enumerate(configurations):
        others = tuple(level for name, level in one.levels.items() if name != factor)
        sets[others][one.levels[factor]] = number
    return list(sets.values())


def effects(basis: StudyBasis, scores: Scores) -> Iterator[Effect]:
    """Compare every pair of levels of every factor, the later level of the grid minus the earlier one."""
    for factor, levels in varying(basis).items():
        sets = matched_sets(basis.grid, factor)
        for level_b, level_a in combinations(levels, 2):
            matched = [(of[level_a], of[level_b]) for of in sets if level_a in of and level_b in of]
            pairs = [float(scores.resampled[a, 0] - scores.resampled[b, 0]) for a, b in matched]
            tested = _tested(basis, scores, matched)
            yield Effect(factor, level_a, level_b, np.array(pairs), tested)


def effect_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each pair of levels and test; p-values are adjusted over all pairs of all factors, per test."""
    found = list(effects(basis, scores_of(basis, basis.names)))
    for effect, by_test in zip(found, adjusted_cells([one.tested for one in found]), strict=True):
        for cells in by_test:
            yield {
                "factor": effect.factor,
                "level_a": effect.level_a,
                "level_b": effect.level_b,
                "n_pairs": len(effect.pairs),
                "smallest": or_not_estimable(float(effect.pairs.min()) if len(effect.pairs) else None),
                "largest": or_not_estimable(float(effect.pairs.max()) if len(effect.pairs) else None),
                "n": len(basis.predictions.patient_ids),
                **cells,
            }


def factor_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each factor with several levels, the one with the largest spread first."""
    scores = scores_of(basis, basis.names)
    found = [_factor(basis, scores, factor, levels) for factor, levels in varying(basis).items()]
    known = [row for row in found if row["p_value"] is not None]
    p_values = dict(zip((row["factor"] for row in known), holm([r["p_value"] for r in known]), strict=True))
    for row in sorted(found, key=lambda row: np.inf if row["spread"] is None else -row["spread"]):
        numbers = ("spread", "by_chance", "p_value", "best_mean", "worst_mean")
        yield {
            **row,
            **{name: or_not_estimable(row[name]) for name in numbers},
            "p_adjusted": or_not_estimable(p_values.get(row["factor"])),
            "n": len(basis.predictions.patient_ids),
        }


def _tested(basis: StudyBasis, scores: Scores, matched: Sequence[tuple[int, int]]) -> tuple[Tested, Tested]:
    """Test the mean over the pairs, each of them (number of the one, number of the other)."""
    if not matched:
        return Tested(BOOTSTRAP, without_difference(NO_PAIR)), Tested(
            CORRECTED_T, without_difference(NO_PAIR)
        )
    weights = np.zeros(len(scores.names))
    of_a, of_b = zip(*matched, strict=True)
    weights[list(of_a)] = 1 / len(matched)
    weights[list(of_b)] = -1 / len(matched)
    return both_tests(basis, scores, weights)


def _common(basis: StudyBasis, factor: str, levels: Sequence[str]) -> list[str]:
    """Return the levels that are not rare, in their order."""
    n_of = Counter(one.levels[factor] for one in basis.grid)
    return [level for level in levels if n_of[level] >= _RARE * max(n_of.values())]


def _factor(basis: StudyBasis, scores: Scores, factor: str, every: Sequence[str]) -> dict[str, Any]:
    levels = _common(basis, factor, every)
    rare = ", ".join(level for level in every if level not in levels)
    sets = [of for of in matched_sets(basis.grid, factor) if set(levels) <= of.keys()]
    row: dict[str, Any] = {"factor": factor, "n_levels": len(levels), "n_sets": len(sets)}
    row["note"] = f"without {rare}, which few configurations have" if rare else ""
    if not sets or len(levels) < 2:
        empty = dict.fromkeys(("spread", "by_chance", "p_value", "best_mean", "worst_mean"))
        return {**row, **empty, "best_level": "", "worst_level": "", "note": f"{NOT_ESTIMABLE}: {NO_SET}"}
    members = np.array([[of[level] for of in sets] for level in levels])  # (levels, sets)
    means = scores.resampled[members].mean(axis=1)  # (levels, 1 + draws)
    best, worst = int(means[:, 0].argmax()), int(means[:, 0].argmin())
    spread = float(means[best, 0] - means[worst, 0])
    by_chance = _spreads_by_chance(basis, scores, members, means)
    return {
        **row,
        "spread": spread,
        "by_chance": float(by_chance.mean()),
        "p_value": float((1 + np.sum(by_chance >= spread)) / (1 + len(by_chance))),
        "best_level": levels[best],
        "best_mean": float(means[best, 0]),
        "worst_level": levels[worst],
        "worst_mean": float(means[worst, 0]),
    }


def _spreads_by_chance(
    basis: StudyBasis, scores: Scores, members: NDArray[np.intp], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw the spread that levels would show by chance if none differed.

    The deviations of the resamples from the cohort are the error of the means. They know the patients only, so they are
    widened by the design effect of the pair of levels that has the largest.
    """
    labels, fold = basis.predictions.labels, basis.predictions.fold
    losses = np.stack([scores.losses[of_level].mean(axis=0) for of_level in members])
    found = [
        design_effect(losses[a] - losses[b], labels, fold) for a, b in combinations(range(len(losses)), 2)
    ]
    widened = np.sqrt(max(effect or 1.0 for effect in found))
    deviations = (means[:, 1:] - means[:, :1]) * widened
    spreads: NDArray[np.float64] = np.ptp(deviations, axis=0)
    return spreads[np.isfinite(spreads)]


_DIFFERENCE = "Mean over the pairs of the macro AUC at level a minus level b"
FACTORS = StudyTable(
    "factors.csv",
    "factor of the study that has several levels, the largest spread first",
    (
        Column("factor", "Factor of [aggregate.study]"),
        Column("n_levels", "Number of its levels that are compared", "", Kind.COUNT),
        Column(
            "n_sets",
            "Combinations of the other factors that were tried with every level; the means are over these",
            "",
            Kind.COUNT,
        ),
        Column("spread", "Largest minus smallest mean macro AUC of a level", "AUC", Kind.ESTIMATE),
        Column("by_chance", "Mean spread to expect if no level differed", "AUC", Kind.ESTIMATE),
        Column(
            "p_value",
            "p-value of no difference between any levels: how often chance gives such a spread",
            "",
            Kind.P_VALUE,
        ),
        Column("p_adjusted", "p-value after Holm's adjustment over the factors", "", Kind.P_VALUE),
        Column("best_level", "Level with the largest mean"),
        Column("best_mean", "Its mean macro AUC", "0 to 1", Kind.ESTIMATE),
        Column("worst_level", "Level with the smallest mean"),
        Column("worst_mean", "Its mean macro AUC", "0 to 1", Kind.ESTIMATE),
        N,
        Column("note", "Why a number is not estimable; otherwise which rare levels are left out"),
    ),
    place=415,
    step=Step.STUDY,
    rows=factor_rows,
    notes=(
        "The spread is never negative and grows with the number of levels, whether they differ or not: read it beside "
        "by_chance, which comes from the resamples of the patients, widened by the design effect. It is an average over the "
        "other factors of this grid and holds for them."
    ),
)
FACTOR_EFFECTS = StudyTable(
    "factor_effects.csv",
    "factor x pair of its levels x test",
    (
        Column("factor", "Factor of [aggregate.study] that has several levels"),
        Column("level_a", "One level, the later one of the grid"),
        Column("level_b", "Another level"),
        Column("n_pairs", "Matched pairs: configurations that differ in this factor alone", "", Kind.COUNT),
        Column("test", "paired patient bootstrap; Nadeau-Bengio corrected t over repeats x folds"),
        Column("difference", _DIFFERENCE, "AUC", Kind.ESTIMATE),
        *bounds("AUC", kind=Kind.ESTIMATE),
        Column("p_value", "Two-sided p-value of no mean difference", "", Kind.P_VALUE),
        Column(
            "p_adjusted",
            "p-value after Holm's adjustment over all pairs of levels of all factors, per test",
            "",
            Kind.P_VALUE,
        ),
        Column("n_comparisons", "Number of comparisons adjusted together", "comparisons", Kind.COUNT),
        Column("smallest", "Smallest difference of a pair", "AUC", Kind.ESTIMATE),
        Column("largest", "Largest difference of a pair", "AUC", Kind.ESTIMATE),
        N,
        Column(
            "note",
            "Why a number is not estimable; otherwise the design effect in the test's variance",
        ),
    ),
    place=420,
    step=Step.STUDY,
    rows=effect_rows,
    notes=(
        "Pairs are equal in all other factors; where combinations were left out of the grid, fewer pairs are matched, and "
        "two rows of one factor may rest on different ones. The pairs share the patients and often the features, so they are "
        "not a sample: the intervals are over patients or folds, for the mean of these pairs. Where smallest and largest have "
        "different signs, the effect depends on the other factors, and the mean hides it."
    ),
)
