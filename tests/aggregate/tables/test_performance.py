import numpy as np
import pytest

from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.performance import (
    CONFUSION,
    PERFORMANCE,
    confusion_rows,
    performance_rows,
)

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
SETTINGS = StatisticsSection(draws=200)


def predictions_of(labels, probabilities):
    n = len(labels)
    return Predictions(
        classes=CLASSES,
        patient_ids=tuple(f"{i:03d}" for i in range(n)),
        labels=np.asarray(labels, dtype=np.intp),
        fold=np.zeros((len(probabilities), n), dtype=np.intp),
        probabilities={"attention": np.asarray(probabilities, dtype=float)},
        n_slices=np.full(n, 12),
        phases=("AP+PVP",) * n,
    )


def certain(called):
    """Probabilities 0.8 of the class that each patient of each repeat is called."""
    return np.where(np.eye(3)[np.asarray(called)] == 1, 0.8, 0.1)


def performance_of(labels, probabilities):
    predictions = predictions_of(labels, probabilities)
    weights = draw_resamples(predictions.labels, draws=SETTINGS.draws, seed=0)
    rows = list(performance_rows(predictions, weights, SETTINGS))
    assert all(list(row) == PERFORMANCE.header() for row in rows)
    return {(row["class"], row["metric"]): row for row in rows}


def test_sensitivity_and_its_counts_by_hand():
    """Three of four HCC are found in repeat 0, two of four in repeat 1."""
    labels = [0, 0, 0, 0, 1, 1, 2, 2]
    called = [[0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1, 2, 2]]
    row = performance_of(labels, certain(called))["HCC", "sensitivity"]
    assert row["estimate"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert row["sd_over_repeats"] == pytest.approx(np.std([3 / 4, 2 / 4], ddof=1))
    assert (row["n"], row["n_positive"]) == (8, 4)
    assert row["ci_low"] < row["estimate"] < row["ci_high"]


def test_two_classes_among_themselves_count_only_their_patients():
    row = performance_of([0, 0, 1, 1, 1, 2], certain([[0, 1, 1, 1, 1, 2]]))["HCC vs iCCA", "auc"]
    assert (row["n"], row["n_positive"]) == (5, 2)


def test_nothing_is_nan_and_the_reason_is_given():
    """Class cHCC-CCA has no patient, and nobody is called iCCA."""
    rows = performance_of([0, 0, 1, 1], certain([[0, 0, 0, 0]]))
    for row in rows.values():
        assert not any(isinstance(cell, float) and np.isnan(cell) for cell in row.values())
    assert rows["macro", "auc"]["estimate"] == "not estimable"
    assert rows["macro", "auc"]["ci_method"] == "not estimable: a class has no patient"
    assert rows["iCCA", "ppv"]["ci_method"] == "not estimable: no patient is called so in 1 of 1 repeats"
    assert rows["HCC", "auc"]["sd_over_repeats"] == "not estimable"


def test_confusion_rows_by_hand():
    predictions = predictions_of([0, 0, 1, 2], certain([[0, 1, 1, 2], [0, 0, 1, 2]]))
    rows = list(confusion_rows(predictions))
    assert all(list(row) == CONFUSION.header() for row in rows)
    assert len(rows) == 9
    assert rows[0] == dict(
        zip(CONFUSION.header(), ("attention", "HCC", "HCC", 1.5, 75.0, 2, 100.0, 2), strict=True)
    )
    assert rows[1]["count"] == 0.5
    assert sum(row["count"] for row in rows) == sum(row["patients"] for row in rows) == 4
