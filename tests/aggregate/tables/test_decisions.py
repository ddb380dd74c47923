import numpy as np
import pytest

from aggregate.statistics.config import StatisticsSection
from aggregate.tables.decisions import (
    DECISION_CURVE,
    THRESHOLDS,
    decision_rows,
    threshold_rows,
)
from pipeline.errors import ConfigError


@pytest.fixture
def rows(predictions, tuning, weights, settings):
    return list(threshold_rows(predictions, tuning, weights, settings))


def of(rows, model, name):
    return [row for row in rows if (row["model"], row["class"]) == (model, name)]


def test_each_fold_has_its_threshold_and_the_patients_it_came_from(rows):
    assert all(list(row) == THRESHOLDS.header() for row in rows)
    summary, *folds = of(rows, "attention", "HCC")
    assert (summary["repeat"], summary["fold"]) == ("all", "all")
    assert [(row["repeat"], row["fold"]) for row in folds] == list(np.ndindex(2, 3))
    assert folds[4]["chosen_on"] == "the tune patients of repeat 1, fold 1"
    assert all(row["n_chosen_on"] > 0 and 0 <= row["threshold"] <= 1.000001 for row in folds[:5])


def test_the_summary_counts_what_each_patients_own_fold_decides(predictions, tuning, rows):
    """Only the patients of repeat 1, fold 2, whose tune patients were all HCC, have no threshold."""
    summary, *folds = of(rows, "boosting", "HCC")
    thresholds = {(row["repeat"], row["fold"]): row["threshold"] for row in folds}
    known = predictions.fold[1] != 2
    right = [
        [
            predictions.probabilities["boosting"][r, i, 0] >= thresholds[r, predictions.fold[r, i]]
            for r in (0, 1)
        ]
        for i in np.flatnonzero(known & (predictions.labels == 0))
    ]
    assert summary["sensitivity"] == pytest.approx(np.mean(right))
    assert (summary["n"], summary["n_positive"]) == (int(known.sum()), len(right))
    assert summary["sensitivity_ci_low"] < summary["sensitivity"] < summary["sensitivity_ci_high"]


def test_a_fold_whose_tune_patients_are_of_one_kind_has_no_threshold(rows):
    row = of(rows, "attention", "HCC")[-1]
    assert row["threshold"] == row["sensitivity"] == "not estimable"
    assert row["chosen_on"] == "not estimable: the tune patients are all of one kind"


def test_without_tune_predictions_the_table_says_so(rows):
    (row,) = of(rows, "majority", "HCC")
    assert row["threshold"] == row["sensitivity"] == row["specificity_ci_low"] == "not estimable"
    assert row["chosen_on"].startswith("not estimable: there are no predictions of tune patients")
    assert row["n"] == 0


def test_the_threshold_hangs_on_the_tune_patients_alone(predictions, tuning, weights, settings, rows):
    changed = {name: p[:, :, ::-1].copy() for name, p in predictions.probabilities.items()}
    again = list(
        threshold_rows(
            type(predictions)(**{**vars(predictions), "probabilities": changed}), tuning, weights, settings
        )
    )
    assert [row["threshold"] for row in again] == [row["threshold"] for row in rows]


def test_another_rule_is_named(predictions, tuning, weights):
    settings = StatisticsSection(draws=100, threshold_rule="sensitivity", threshold_target=0.85)
    rows = threshold_rows(predictions, tuning, weights, settings)
    assert {row["rule"] for row in rows} == {"sensitivity at least 0.85"}


def test_the_decision_curve_by_hand(predictions, weights, settings):
    rows = list(decision_rows(predictions, weights, settings))
    assert all(list(row) == DECISION_CURVE.header() for row in rows)
    (row,) = [r for r in rows if (r["model"], r["class"], r["threshold"]) == ("attention", "iCCA", 0.2)]
    treated = predictions.probabilities["attention"][:, :, 1] >= 0.2
    is_iCCA = predictions.labels == 1
    expected = [(np.sum(t & is_iCCA) - np.sum(t & ~is_iCCA) / 4) / 45 for t in treated]
    assert row["net_benefit"] == pytest.approx(np.mean(expected))
    assert row["treat_all"] == pytest.approx((15 - 30 / 4) / 45)
    assert row["treat_none"] == 0


def test_decision_classes_can_be_chosen_and_are_checked(predictions, weights):
    rows = decision_rows(predictions, weights, StatisticsSection(draws=100, decision_classes=("HCC",)))
    assert {row["class"] for row in rows} == {"HCC"}
    with pytest.raises(ConfigError, match="names 'CRLM'; expected one of HCC, iCCA, cHCC-CCA"):
        list(decision_rows(predictions, weights, StatisticsSection(decision_classes=("CRLM",))))
