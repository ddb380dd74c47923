"""Who is chosen to be looked at."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.explain.choices import choice_rows, choose_patients
from aggregate.predictions import Predictions


@pytest.fixture
def predictions(inputs):
    n = len(inputs.bags("attention"))
    probabilities = np.full((2, n, 3), 0.2)
    called = np.where(np.arange(n) % 5 == 0, (inputs.patients.codes + 1) % 3, inputs.patients.codes)
    sureness = 0.4 + 0.3 * np.arange(n) / n
    probabilities[:, np.arange(n), called] = sureness
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    ids = tuple(bag.patient_id for bag in inputs.bags("attention"))
    fold = np.zeros((2, n), dtype=np.intp)
    slices = np.ones(n, dtype=np.intp)
    return Predictions(
        inputs.patients.classes,
        ids,
        inputs.patients.codes,
        fold,
        {"attention": probabilities},
        slices,
        ("",) * n,
    )


def test_a_typical_right_and_the_surest_mistaken_patient_of_each_class_are_chosen(predictions):
    chosen = choose_patients(predictions, "attention")
    assert [choice.label for choice in chosen] == ["HCC", "HCC", "iCCA", "iCCA", "cHCC-CCA", "cHCC-CCA"]
    right = [i for i in range(60) if i % 3 == 0 and i % 5]
    assert chosen[0].patient_id == f"p{right[len(right) // 2 - 1]:03}"
    assert chosen[1].patient_id == f"p{max(i for i in range(60) if i % 3 == 0 and not i % 5):03}"
    assert chosen[0].title.startswith("reference HCC, typical right prediction: predicted HCC (p = 0.")
    assert chosen[1].title.startswith("reference HCC, surest mistake: predicted iCCA (p = 0.")


def test_a_class_without_a_mistake_has_none_to_show(predictions):
    certain = np.eye(3)[predictions.labels][None]
    chosen = choose_patients(replace(predictions, probabilities={"attention": certain}), "attention")
    assert [choice.why for choice in chosen] == ["typical right prediction"] * 3
    assert [row["number"] for row in choice_rows("attention", chosen)] == [1, 2, 3]


def test_as_many_right_ones_and_mistakes_as_asked_for_are_chosen_where_there_are_as_many(predictions):
    chosen = choose_patients(predictions, "attention", 3)
    assert [choice.why for choice in chosen[:6]] == ["typical right prediction"] * 3 + ["surest mistake"] * 3
    assert len({choice.patient_id for choice in chosen}) == len(chosen) == 18
    sureness = [choice.probability for choice in chosen[3:6]]
    assert sureness == sorted(sureness, reverse=True)
    assert choose_patients(predictions, "attention", 0) == []
