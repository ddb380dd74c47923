"""Which choice matters: matched pairs by a loop, by hand, where the grid is not full, and where nothing matters."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from aggregate.statistics.measures import macro_auc
from aggregate.statistics.training import trained_sample
from aggregate.study.factor_effects import NO_PAIR, NO_SET, effect_rows, factor_rows
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from tests.aggregate.study.drawn import drawn_study, levels_of

GRID = {"encoder": ("lite0", "embedded", "random"), "aggregator": ("mean", "attention"), "phases": ("all",)}


def by_encoder(levels):
    return {"lite0": 1.5, "embedded": 1.4, "random": 0.0}[levels["encoder"]] + 0.1 * (
        levels["aggregator"] == "attention"
    )


@pytest.fixture(scope="module")
def study():
    return drawn_study(levels_of(GRID), strength=by_encoder)


@pytest.fixture(scope="module")
def rows(study):
    return list(effect_rows(study))


def of(rows, **where):
    (row,) = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return row


def test_there_is_a_row_for_each_pair_of_levels_of_each_factor_that_varies(rows):
    pairs = [(row["factor"], row["level_a"], row["level_b"]) for row in rows if row["test"] == BOOTSTRAP]
    assert pairs == [
        ("encoder", "embedded", "lite0"),
        ("encoder", "random", "lite0"),
        ("encoder", "random", "embedded"),
        ("aggregator", "attention", "mean"),
    ]


def test_the_difference_is_the_mean_over_the_matched_pairs(study, rows):
    """By a loop over all pairs of configurations."""
    value = {name: estimate.value for name, estimate in study.estimates.items()}
    for row in (row for row in rows if row["test"] == BOOTSTRAP):
        pairs = []
        for a in study.configurations:
            for b in study.configurations:
                others = [f for f in a.levels if f != row["factor"] and a.levels[f] != b.levels[f]]
                levels = (a.levels[row["factor"]], b.levels[row["factor"]])
                if levels == (row["level_a"], row["level_b"]) and not others:
                    pairs.append(value[a.name] - value[b.name])
        assert row["n_pairs"] == len(pairs)
        assert row["difference"] == pytest.approx(np.mean(pairs))
        assert (row["smallest"], row["largest"]) == pytest.approx((min(pairs), max(pairs)))


def test_the_corrected_t_is_that_of_the_mean_difference_of_each_fold(study, rows):
    row = of(rows, level_a="attention", test=CORRECTED_T)
    per_fold = []
    for repeat, fold in study.places:
        tested = study.predictions.fold[repeat] == fold
        ones = np.ones((tested.sum(), 1))
        labels = study.predictions.labels[tested]
        auc = {
            m: macro_auc(labels, p[repeat : repeat + 1, tested], ones).per_repeat[0]
            for m, p in study.predictions.probabilities.items()
        }
        per_fold.append(np.mean([auc[f"{e}/attention/all"] - auc[f"{e}/mean/all"] for e in GRID["encoder"]]))
    n_folds, mean = len(per_fold), np.mean(per_fold)
    error = math.sqrt((1 / n_folds + 15 / 45) * np.var(per_fold, ddof=1))
    assert row["difference"] == pytest.approx(mean)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(mean) / error, n_folds - 1))
    assert row["ci_low"] == pytest.approx(mean - stats.t.ppf(0.975, n_folds - 1) * error)


def test_one_pair_is_compared_as_two_models_are(study):
    """The bootstrap's standard error of a single pair is that of the paired draws, with its design effect."""
    two = drawn_study(levels_of({"aggregator": ("mean", "attention")}), n=48)
    row = of(list(effect_rows(two)), test=BOOTSTRAP)
    p = two.predictions.probabilities
    draws = two.measured["attention"].resampled - two.measured["mean"].resampled
    error = np.std(draws[1:], ddof=1) * math.sqrt(float(row["note"].removeprefix("design effect ")))
    sample = trained_sample(two.predictions.labels, p["mean"], two.predictions.fold, two.weights)
    half = stats.t.ppf(0.975, sample.freedom(draws)) * error
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.01)


def test_p_values_are_adjusted_over_all_pairs_of_all_factors_for_each_test(rows):
    for test in (BOOTSTRAP, CORRECTED_T):
        of_test = [row for row in rows if row["test"] == test]
        expected = multipletests([row["p_value"] for row in of_test], method="holm")[1]
        assert [row["p_adjusted"] for row in of_test] == pytest.approx(expected)
        assert {row["n_comparisons"] for row in of_test} == {4}


def test_the_factor_that_was_made_to_matter_comes_first(study):
    first, second = factor_rows(study)
    assert (first["factor"], first["worst_level"], first["n_levels"], first["n_sets"]) == (
        "encoder",
        "random",
        3,
        2,
    )
    assert first["spread"] == pytest.approx(first["best_mean"] - first["worst_mean"])
    assert first["spread"] > 2 * first["by_chance"]
    assert first["p_adjusted"] < 0.01 < second["p_adjusted"]
    means = {
        level: np.mean([study.estimates[f"{level}/{a}/all"].value for a in GRID["aggregator"]])
        for level in GRID["encoder"]
    }
    assert first["best_mean"] == pytest.approx(max(means.values()))


def test_a_grid_with_gaps_compares_only_what_is_matched():
    """`random` was tried with attention only, where everything is better: it must not profit from that."""
    gaps = [c for c in levels_of(GRID) if (c["encoder"], c["aggregator"]) != ("random", "mean")]
    study = drawn_study(gaps, strength=lambda levels: 2.0 * (levels["aggregator"] == "attention"))
    rows = list(effect_rows(study))
    assert of(rows, level_a="embedded", level_b="lite0", test=BOOTSTRAP)["n_pairs"] == 2
    gap = of(rows, level_a="random", level_b="lite0", test=BOOTSTRAP)
    value = {name: estimate.value for name, estimate in study.estimates.items()}
    assert gap["n_pairs"] == 1
    assert gap["difference"] == pytest.approx(value["random/attention/all"] - value["lite0/attention/all"])
    assert {row["factor"]: row["n_sets"] for row in factor_rows(study)} == {"encoder": 1, "aggregator": 2}


def test_a_rare_level_does_not_leave_the_others_to_a_few_combinations():
    """`stack` was tried with one encoder: the spread of the aggregators is that of the others, over all encoders."""
    grid = [*levels_of(GRID), {**levels_of(GRID)[0], "aggregator": "stack"}]
    rows = {row["factor"]: row for row in factor_rows(drawn_study(grid, n=30))}
    assert (rows["aggregator"]["n_levels"], rows["aggregator"]["n_sets"]) == (2, len(GRID["encoder"]))
    assert rows["aggregator"]["note"] == "without stack, which few configurations have"
    assert rows["encoder"]["n_sets"] == 2


def test_levels_without_a_matched_pair_are_not_estimable():
    apart = [{"encoder": "lite0", "aggregator": "mean"}, {"encoder": "random", "aggregator": "attention"}]
    study = drawn_study(apart, n=30)
    for row in effect_rows(study):
        assert (row["n_pairs"], row["difference"], row["p_adjusted"]) == (0, "not estimable", "not estimable")
        assert row["note"] == f"not estimable: {NO_PAIR}"
        assert row["n_comparisons"] == 0
    assert [row["note"] for row in factor_rows(study)] == [f"not estimable: {NO_SET}"] * 2


def test_equal_levels_do_not_differ():
    study = drawn_study(levels_of({"aggregator": ("mean", "attention")}), n=30)
    p = study.predictions.probabilities
    p["attention"][:] = p["mean"]
    row = of(list(effect_rows(study)), test=BOOTSTRAP)
    assert (row["difference"], row["p_value"]) == (0.0, 1.0)


def test_a_study_of_one_configuration_has_no_effects():
    study = drawn_study([{"aggregator": "mean"}], n=30)
    assert list(effect_rows(study)) == list(factor_rows(study)) == []
