import pytest

from aggregate.tables.calibration import CALIBRATION, calibration_rows
from aggregate.tables.performance import performance_rows


@pytest.fixture
def rows(predictions, weights, settings):
    return list(calibration_rows(predictions, weights, settings))


def test_every_model_and_class_has_its_measures_and_points(rows):
    assert all(set(row) == set(CALIBRATION.header()) for row in rows)
    of_one = [row for row in rows if (row["model"], row["class"]) == ("attention", "iCCA")]
    assert [row["measure"] for row in of_one] == ["brier", "ece", "slope", "intercept"] + ["reliability"] * 5
    assert [row["bin"] for row in of_one[4:]] == [1, 2, 3, 4, 5]
    assert sum(row["n"] for row in of_one[4:]) == pytest.approx(45)


def test_the_brier_score_is_that_of_the_performance_table(predictions, weights, settings, rows):
    found = {
        (r["model"], r["class"]): (r["estimate"], r["ci_low"], r["ci_high"])
        for r in performance_rows(predictions, weights, settings)
        if r["metric"] == "brier"
    }
    for row in rows:
        if row["measure"] == "brier":
            expected = found[row["model"], row["class"]]
            numbers = [cell for cell in expected if isinstance(cell, float)]
            assert [row["estimate"], row["ci_low"], row["ci_high"]][: len(numbers)] == pytest.approx(numbers)


def test_the_reliability_points_make_up_the_calibration_error(rows):
    of_one = [row for row in rows if (row["model"], row["class"]) == ("boosting", "HCC")]
    points = [row for row in of_one if row["measure"] == "reliability"]
    error = sum(abs(p["mean_predicted"] - p["estimate"]) * p["n"] for p in points) / 45
    assert next(row["estimate"] for row in of_one if row["measure"] == "ece") == pytest.approx(error)


def test_the_majority_has_no_slope_and_says_why(rows):
    (row,) = [r for r in rows if (r["model"], r["class"], r["measure"]) == ("majority", "HCC", "slope")]
    assert row["estimate"] == row["ci_low"] == "not estimable"
    assert row["ci_method"] == "not estimable: the probability is the same for every patient"
