from itertools import combinations

import pytest
from statsmodels.stats.multitest import multipletests

from aggregate.statistics.config import ComparisonSection, StatisticsSection
from aggregate.tables.comparisons import COMPARISONS, comparison_rows, model_pairs
from aggregate.tables.performance import performance_rows
from pipeline.errors import ConfigError


@pytest.fixture
def rows(predictions, weights, settings):
    return list(comparison_rows(predictions, weights, settings))


def test_every_pair_has_every_class_metric_and_test_once(rows):
    assert all(list(row) == COMPARISONS.header() for row in rows)
    keys = [(r["model_a"], r["model_b"], r["class"], r["metric"], r["test"]) for r in rows]
    assert len(set(keys)) == len(keys) == 6 * (2 * 2 + 3 * 3)


def test_the_primary_comparison_comes_first_and_alone(rows):
    first = rows[0]
    assert (first["model_a"], first["model_b"], first["class"]) == ("boosting", "attention", "macro")
    assert (first["metric"], first["test"]) == ("auc", "paired patient bootstrap")
    assert first["n_comparisons"] == 1
    assert first["p_adjusted"] == first["p_value"]
    assert [row["primary"] for row in rows] == [True] + [False] * (len(rows) - 1)


def test_every_row_says_what_its_test_counts_beside_the_patients(rows):
    for row in rows:
        if row["test"] == "DeLong":
            assert row["note"] == "knows the patients only, no design effect"
        elif row["test"] == "paired patient bootstrap":
            effect = float(row["note"].removeprefix("design effect "))
            assert 1 <= effect <= 1 + 3 / 2  # three folds
        else:
            assert row["note"] == ""


def test_the_others_are_adjusted_among_those_of_the_same_kind(rows):
    family = [
        r
        for r in rows
        if not r["primary"] and (r["class"], r["metric"], r["test"]) == ("HCC", "auc", "DeLong")
    ]
    assert {row["n_comparisons"] for row in family} == {6}
    expected = multipletests([row["p_value"] for row in family], method="holm")[1]
    for row, p in zip(family, expected, strict=True):
        assert row["p_adjusted"] == pytest.approx(p)


def test_the_difference_is_that_of_the_performance_table(predictions, weights, settings, rows):
    found = {
        (r["model"], r["class"], r["metric"]): r["estimate"]
        for r in performance_rows(predictions, weights, settings)
    }
    for row in rows:
        if row["test"] != "Nadeau-Bengio corrected t":
            a, b = (found[row[m], row["class"], row["metric"]] for m in ("model_a", "model_b"))
            assert row["difference"] == pytest.approx(a - b)


def test_without_a_primary_comparison_all_pairs_are_compared():
    models = ("a", "b", "c")
    assert model_pairs(models, StatisticsSection()) == list(combinations(models, 2))


def test_pairs_can_be_limited_to_the_primary_models():
    settings = StatisticsSection(
        primary=ComparisonSection(model_a="c", model_b="a"), compare="primary_models"
    )
    pairs = model_pairs(("a", "b", "c", "d", "e"), settings)
    assert pairs[0] == ("c", "a")
    assert {frozenset(pair) for pair in pairs} == {
        frozenset(pair) for pair in ("ca", "ab", "ad", "ae", "bc", "cd", "ce")
    }


@pytest.mark.parametrize(
    ("model_a", "message"), [("x", "names model 'x'; expected one of a, b"), ("b", "'b' with itself")]
)
def test_a_primary_comparison_that_cannot_be_is_refused(model_a, message):
    settings = StatisticsSection(primary=ComparisonSection(model_a=model_a, model_b="b"))
    with pytest.raises(ConfigError, match=message):
        model_pairs(("a", "b"), settings)
