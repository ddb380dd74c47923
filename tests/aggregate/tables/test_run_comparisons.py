"""Two models of two runs: the numbers of comparisons.csv where the runs are one, and what is said where they differ."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.tables.comparisons import comparison_rows
from aggregate.tables.run_comparisons import (
    DESIGN_UNKNOWN,
    RUN_COMPARISONS,
    ModelOfRun,
    run_comparison_rows,
)


def rows_of(a, b, settings, *, same_splits=True):
    first, second = (
        ModelOfRun(name, model, "w", predictions)
        for name, model, predictions in (("A", "boosting", a), ("B", "attention", b))
    )
    return list(run_comparison_rows(first, second, settings, same_splits=same_splits))


def test_two_models_on_the_same_splits_differ_as_within_one_run(predictions, weights, settings):
    within = {
        (row["class"], row["metric"], row["test"]): row
        for row in comparison_rows(predictions, weights, settings)
        if (row["model_a"], row["model_b"]) == ("boosting", "attention")
    }
    rows = rows_of(predictions, predictions, settings)
    assert len(rows) == 2 * 5
    for row in rows:
        assert list(row) == RUN_COMPARISONS.header()
        known = within[row["class"], row["metric"], row["test"]]
        for name in ("difference", "ci_low", "ci_high", "p_value", "n", "n_positive", "note"):
            assert row[name] == known[name], name


def test_patients_are_paired_by_their_identifier_and_classes_by_their_name(predictions, settings):
    order, classes = np.arange(45)[::-1], [2, 0, 1]
    turned = replace(
        predictions,
        classes=tuple(predictions.classes[k] for k in classes),
        patient_ids=tuple(predictions.patient_ids[i] for i in order),
        labels=np.array([classes.index(label) for label in predictions.labels[order]]),
        fold=predictions.fold[:, order],
        probabilities={m: p[:, order][:, :, classes] for m, p in predictions.probabilities.items()},
    )
    assert rows_of(predictions, turned, settings) == rows_of(predictions, predictions, settings)


def test_on_other_splits_there_is_no_t_over_the_folds_and_the_interval_says_what_it_lacks(
    predictions, settings
):
    rows = rows_of(predictions, predictions, settings, same_splits=False)
    assert {row["test"] for row in rows} == {"paired patient bootstrap"}
    assert {row["note"] for row in rows} == {DESIGN_UNKNOWN}


def test_patients_of_one_run_alone_are_left_out_and_counted(predictions, settings):
    kept = np.arange(40)
    fewer = replace(
        predictions,
        patient_ids=predictions.patient_ids[:40],
        labels=predictions.labels[kept],
        fold=predictions.fold[:, kept],
        probabilities={m: p[:, kept] for m, p in predictions.probabilities.items()},
    )
    first = rows_of(predictions, fewer, settings, same_splits=False)[0]
    assert (first["n"], first["n_only_a"], first["n_only_b"]) == (40, 5, 0)
    assert first["difference"] == pytest.approx(first["estimate_a"] - first["estimate_b"])
