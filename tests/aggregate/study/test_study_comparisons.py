"""Which configurations differ: the families, the primary comparison, the ranks and groups."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from aggregate.statistics.config import ComparisonSection, StatisticsSection
from aggregate.statistics.measures import balanced_accuracy
from aggregate.study.leaderboard import ranking
from aggregate.study.ranks import maximal_groups, mean_ranks, rank_rows
from aggregate.study.study_comparisons import BEST, PLAINEST, PRIMARY, comparison_rows
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from aggregate.tables.comparisons import comparison_rows as rows_of_a_run
from tests.aggregate.study.drawn import drawn_study, levels_of

GRID = levels_of({"aggregator": ("mean", "attention", "gated", "boosting"), "measures": ("no", "yes")})
STRENGTHS = {"mean": 0.3, "attention": 5.0, "gated": 4.8, "boosting": 0.5}


def by_aggregator(levels):
    return STRENGTHS[levels["aggregator"]]


@pytest.fixture(scope="module")
def study():
    return drawn_study(GRID, strength=by_aggregator, n=90, compare_best=5)


@pytest.fixture(scope="module")
def rows(study):
    return list(comparison_rows(study))


def pairs(rows, family):
    return [(r["model_a"], r["model_b"]) for r in rows if r["family"] == family and r["test"] == CORRECTED_T]


def test_all_pairs_of_the_best_are_compared_and_everything_with_the_plainest(study, rows):
    order = ranking(study)
    assert pairs(rows, BEST) == list(combinations(order[:5], 2))
    assert pairs(rows, PLAINEST) == [(name, "mean/no") for name in order if name != "mean/no"]
    assert not pairs(rows, PRIMARY)


def test_every_family_is_adjusted_by_itself_for_each_test(rows):
    for family, n in ((BEST, 10), (PLAINEST, 7)):
        for test in (BOOTSTRAP, CORRECTED_T):
            found = [row for row in rows if (row["family"], row["test"]) == (family, test)]
            expected = multipletests([row["p_value"] for row in found], method="holm")[1]
            assert [row["p_adjusted"] for row in found] == pytest.approx(expected)
            assert [row["n_comparisons"] for row in found] == [n] * n


def test_a_pair_is_compared_as_in_the_comparisons_of_a_run(study, rows):
    """comparisons.csv computes its differences without sums of configurations."""
    known = {
        (r["model_a"], r["model_b"], r["test"]): r
        for r in rows_of_a_run(study.predictions, study.weights, study.statistics)
        if (r["class"], r["metric"]) == ("macro", "auc")
    }
    for row in rows:
        there = known.get((row["model_a"], row["model_b"], row["test"]))
        if there is not None:
            numbers = [
                (one["difference"], one["ci_low"], one["ci_high"], one["p_value"]) for one in (row, there)
            ]
            assert numbers[0] == pytest.approx(numbers[1])
            assert row["note"] == there["note"]


def test_the_primary_comparison_comes_first_in_its_direction_and_unadjusted():
    primary = ComparisonSection(model_a="mean/no", model_b="boosting/yes", metric="balanced_accuracy")
    study = drawn_study(
        GRID,
        strength=by_aggregator,
        n=48,
        settings=StatisticsSection(draws=200, primary=primary),
        compare_best=2,
    )
    first, second, *_ = rows = list(comparison_rows(study))
    assert pairs(rows, PRIMARY) == [("mean/no", "boosting/yes")]
    assert (first["test"], second["test"], first["metric"]) == (BOOTSTRAP, CORRECTED_T, "balanced_accuracy")
    assert first["p_adjusted"] == first["p_value"]
    p, labels = study.predictions.probabilities, study.predictions.labels
    a, b = (
        balanced_accuracy(labels, p[name], np.ones((48, 1))).resampled[0]
        for name in ("mean/no", "boosting/yes")
    )
    assert first["difference"] == pytest.approx(a - b)


def test_a_primary_comparison_with_a_baseline_is_not_one_of_configurations():
    primary = ComparisonSection(model_a="mean/no", model_b="bag_size")
    settings = StatisticsSection(draws=100, primary=primary)
    study = drawn_study(GRID, n=30, settings=settings, compare_best=2)
    assert not pairs(list(comparison_rows(study)), PRIMARY)


def test_the_plainest_is_the_one_that_was_named():
    study = drawn_study(GRID, n=30, compare_best=2, plainest="gated/no")
    assert {b for _, b in pairs(list(comparison_rows(study)), PLAINEST)} == {"gated/no"}


def test_ranks_by_hand():
    """Two folds; in the first a and b are equal and share the places 1 and 2."""
    per_fold = np.array([[0.9, 0.6], [0.9, 0.8], [0.5, 0.7]])
    assert mean_ranks(per_fold).tolist() == [2.25, 1.25, 2.5]


def test_groups_by_hand():
    """0 differs from 2 and 3, and 1 from 3: {0, 1}, {1, 2} and {2, 3} are left."""
    assert set(maximal_groups(4, [(0, 2), (0, 3), (1, 3)])) == {
        frozenset({0, 1}),
        frozenset({1, 2}),
        frozenset({2, 3}),
    }
    assert maximal_groups(3, []) == [frozenset({0, 1, 2})]
    assert len(maximal_groups(3, list(combinations(range(3), 2)))) == 3


@given(st.sets(st.sampled_from(list(combinations(range(6), 2)))))
def test_groups_are_those_of_a_search_through_all_subsets(differ):
    subsets = [frozenset(s) for k in range(1, 7) for s in combinations(range(6), k)]
    alike = [s for s in subsets if not any(pair in differ for pair in combinations(sorted(s), 2))]
    expected = {s for s in alike if not any(s < other for other in alike)}
    found = maximal_groups(6, list(differ))
    assert set(found) == expected
    assert len(found) == len(expected)


def test_models_share_a_group_exactly_where_the_corrected_t_shows_no_difference(study, rows):
    table = list(rank_rows(study))
    groups = {row["model"]: set(row["groups"].split()) for row in table}
    assert [row["mean_rank"] for row in table] == sorted(row["mean_rank"] for row in table)
    assert sum(row["mean_rank"] for row in table) == pytest.approx(1 + 2 + 3 + 4 + 5)
    for row in rows:
        if (row["family"], row["test"]) == (BEST, CORRECTED_T):
            together = bool(groups[row["model_a"]] & groups[row["model_b"]])
            assert together == (row["p_adjusted"] >= 0.05)
    assert len(set().union(*groups.values())) > 1


def test_mean_ranks_are_those_of_scipy_fold_by_fold(study):
    names = [row["model"] for row in rank_rows(study)]
    places = [
        stats.rankdata([-study.per_fold[name][fold] for name in names]) for fold in range(len(study.places))
    ]
    found = [row["mean_rank"] for row in rank_rows(study)]
    assert found == pytest.approx(np.mean(places, axis=0))
