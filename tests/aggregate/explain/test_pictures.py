"""Montages: who is chosen, which slices, and that nothing but the crops is in them."""

import re

import numpy as np
import pytest

from aggregate.explain.pictures import _extremes, choose_patients, draw_pictures
from aggregate.predictions import Predictions


@pytest.fixture
def predictions(inputs):
    n = len(inputs.bags)
    probabilities = np.full((2, n, 3), 0.2)
    called = np.where(np.arange(n) % 5 == 0, (inputs.labels + 1) % 3, inputs.labels)
    sureness = 0.4 + 0.3 * np.arange(n) / n
    probabilities[:, np.arange(n), called] = sureness
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    ids = tuple(bag.patient_id for bag in inputs.bags)
    fold = np.zeros((2, n), dtype=np.intp)
    slices = np.ones(n, dtype=np.intp)
    return Predictions(
        inputs.classes, ids, inputs.labels, fold, {"attention": probabilities}, slices, ("",) * n
    )


def test_the_surest_right_and_the_surest_mistaken_patient_of_each_class_are_chosen(inputs, predictions):
    chosen = choose_patients(predictions, "attention", range(len(inputs.bags)))
    assert len(chosen) == 6
    assert [inputs.labels[c.patient] for c in chosen] == [0, 0, 1, 1, 2, 2]
    assert chosen[0].patient == max(i for i in range(60) if i % 3 == 0 and i % 5)
    assert chosen[1].patient == max(i for i in range(60) if i % 3 == 0 and not i % 5)
    assert chosen[1].why.startswith("reference HCC, surest mistake: predicted iCCA")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.1, 0.5, 0.2, 0.05, 0.15, 0.0], [1, 2, 4, 3, 5]),
        ([0.3, 0.7], [1, 0, None, None, None]),
        ([0.1, 0.2, 0.3, 0.4], [3, 2, 1, None, 0]),
        ([np.nan, 1.0], [1, None, None, None, None]),
    ],
)
def test_top_slices_come_first_and_no_slice_comes_twice(weights, expected):
    assert _extremes(np.array(weights)) == expected


def test_montages_are_drawings_with_a_title_and_no_path_of_a_scan(inputs, predictions, tmp_path, ball):
    def read_slices(patient_id):
        return [ball("AP", 30, 30, radius=12), ball("DP", -10, -10, radius=12)]

    (tmp_path / "montage_9_old.svg").write_text("from an earlier run")
    draw_pictures(tmp_path, inputs, predictions, read_slices)
    paths = sorted(tmp_path.glob("*.svg"))
    assert len(paths) == 6
    text = paths[0].read_text(encoding="utf-8")
    assert re.search(r"<title>p057: reference HCC, surest right prediction", text)
    assert text.count("<image") >= 2
    assert "nii" not in text
