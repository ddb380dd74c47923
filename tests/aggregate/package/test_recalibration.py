"""Recalibration: what is learned by hand, its effect on others only, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from aggregate.package.recalibration import (
    effect_rows,
    learn_recalibration,
    read_recalibration_patients,
    recalibrated_rows,
)
from aggregate.statistics.config import StatisticsSection
from pipeline.errors import CohortError

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
QUICK = StatisticsSection(draws=200)


def patients(n: int, *, sharpness: float = 1.0, prior=(0.0, 0.0, 0.0), seed: int = 0):
    """Draw probabilities that are `sharpness` times too sure and know nothing of a case mix, with labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    truth = softmax(logits + np.array(prior), axis=1)
    labels = np.array([rng.choice(3, p=row) for row in truth])
    return softmax(sharpness * logits, axis=1), labels


def test_a_model_that_is_twice_as_sure_as_it_should_be_gets_temperature_two():
    probabilities, labels = patients(3000, sharpness=2.0)
    found = learn_recalibration(probabilities, labels, CLASSES)
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert list(found.intercepts.values()) == pytest.approx([0, 0, 0], abs=0.15)


def test_another_case_mix_becomes_the_intercepts():
    probabilities, labels = patients(3000, prior=(1.0, 0.0, -1.0))
    found = learn_recalibration(probabilities, labels, CLASSES)
    assert list(found.intercepts.values()) == pytest.approx([1, 0, -1], abs=0.2)
    assert found.temperature == pytest.approx(1.0, rel=0.1)


def test_with_few_patients_of_a_class_only_the_temperature_is_learned_and_that_is_said():
    probabilities = softmax(np.random.default_rng(0).normal(size=(30, 3)), axis=1)
    labels = np.repeat([0, 1, 2], [16, 10, 4])
    found = learn_recalibration(probabilities, labels, CLASSES)
    assert set(found.intercepts.values()) == {0.0}
    assert "no intercepts, since cHCC-CCA has 4 patients of the 5 that one needs" in found.method
    enough = np.repeat([0, 1, 2], [15, 10, 5])
    assert "an intercept per class" in learn_recalibration(probabilities, enough, CLASSES).method


def test_ten_patients_whom_the_model_gets_right_do_not_make_it_certain():
    labels = np.arange(10) % 3
    probabilities = np.where(np.eye(3)[labels] == 1, 0.6, 0.2)
    found = learn_recalibration(probabilities, labels, CLASSES)
    assert 0.3 < found.temperature < 1
    assert found(probabilities).max() < 0.98


def test_a_temperature_changes_no_order_of_two_classes():
    rng = np.random.default_rng(4)
    p = rng.uniform(0.02, 0.98, 60)
    probabilities, labels = np.stack([p, 1 - p], axis=1), (rng.random(60) > p**2).astype(np.intp)
    found = learn_recalibration(probabilities[:12], np.arange(12) % 2, ("a", "b"))
    rows = {
        (row["class"], row["metric"]): row
        for row in effect_rows(found, probabilities, labels, ("a", "b"), QUICK)
    }
    assert rows["macro", "auc"]["before"] == rows["macro", "auc"]["after"]
    assert rows["macro", "auc"]["difference"] == 0


def test_the_effect_is_that_on_the_others():
    probabilities, labels = patients(400, sharpness=3.0)
    found = learn_recalibration(probabilities[:60], labels[:60], CLASSES)
    others = probabilities[60:], labels[60:]
    rows = {(row["class"], row["metric"]): row for row in effect_rows(found, *others, CLASSES, QUICK)}
    loss = rows["macro", "log_loss"]
    assert (loss["n"], loss["n_recalibrated_on"]) == (340, 60)
    by_hand = -np.log(found(others[0])[np.arange(340), others[1]]).mean()
    assert loss["after"] == pytest.approx(by_hand)
    assert loss["difference"] == pytest.approx(loss["after"] - loss["before"])
    assert loss["ci_high"] < 0
    assert abs(rows["HCC", "slope"]["after"] - 1) < abs(rows["HCC", "slope"]["before"] - 1)
    assert rows["HCC", "ece"]["after"] < rows["HCC", "ece"]["before"]


def test_a_class_that_none_of_the_others_has_is_not_estimable():
    probabilities, labels = patients(80)
    found = learn_recalibration(probabilities[:30], labels[:30], CLASSES)
    others = np.flatnonzero(labels[30:] != 2) + 30
    rows = {
        (row["class"], row["metric"]): row
        for row in effect_rows(found, probabilities[others], labels[others], CLASSES, QUICK)
    }
    assert rows["cHCC-CCA", "auc"]["after"] == rows["cHCC-CCA", "slope"]["after"] == "not estimable"
    assert rows["macro", "log_loss"]["ci_low"] != "not estimable"


def test_a_model_that_is_right_stays_nearly_as_it_is():
    probabilities, labels = patients(600)
    found = learn_recalibration(probabilities[:40], labels[:40], CLASSES)
    rows = {row["metric"]: row for row in effect_rows(found, probabilities[40:], labels[40:], CLASSES, QUICK)}
    assert abs(rows["log_loss"]["difference"]) < 0.05


def test_everybody_has_recalibrated_probabilities_that_sum_to_one():
    probabilities, labels = patients(30)
    found = learn_recalibration(probabilities, labels, CLASSES)
    used = [i < 12 for i in range(30)]
    rows = list(recalibrated_rows(found, [f"p{i}" for i in range(30)], used, probabilities))
    assert [row["recalibrated_on"] for row in rows] == used
    assert [sum(row[f"p_{name}"] for name in CLASSES) for row in rows] == pytest.approx([1.0] * 30)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([0, 1, 2] * 3, "expected 10 labelled patients or more, found 9"),
        ([0] * 6 + [1] * 6, "expected 2 patients or more of each class, found 0 patients of cHCC-CCA"),
        ([0] * 6 + [1] * 6 + [2], "found 1 patient of cHCC-CCA"),
    ],
)
def test_too_few_patients_or_a_class_without_any_are_refused_by_name(labels, told):
    with pytest.raises(CohortError, match=told):
        learn_recalibration(np.full((len(labels), 3), 1 / 3), np.array(labels), CLASSES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("patient_id\nn1\nn1\n", "line 3: patient n1 stands there twice"),
        ("patient_id\nn9\n", "line 2: patient n9 is not among those who are predicted"),
        ("patient_id\nn3\n", "line 2: patient n3 has no label in the cohort table"),
        ("patient_id,label\nn1,iCCA\n", "line 2: patient n1 is iCCA here and HCC in the cohort table"),
        ("name\nn1\n", "line 2: expected a patient in a column patient_id"),
        ("patient_id\nn1\nn2\n", "names every patient with a label; leave some out"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_by_line(tmp_path: Path, text, told):
    path = tmp_path / "few.csv"
    path.write_text(text)
    with pytest.raises(CohortError, match=told):
        read_recalibration_patients(path, ["n1", "n2", "n3"], ["HCC", "iCCA", None])


def test_the_list_chooses_its_patients(tmp_path: Path):
    path = tmp_path / "few.csv"
    path.write_text("patient_id,label\nn2,iCCA\n")
    chosen = read_recalibration_patients(path, ["n1", "n2", "n3"], ["HCC", "iCCA", None])
    assert chosen.tolist() == [False, True, False]
