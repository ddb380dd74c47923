"""Shapley values over phases, by hand and by law."""

import numpy as np
import pytest

from aggregate.explain.phase_value import CHANCE, phase_values, shapley, subset_rows, subsets, value_rows
from aggregate.explain.resampling import resampling_of

LABELS = np.tile(np.arange(3), 10)


def game(**worth: float):
    """Build the values of all subsets of a game in which the phases simply add up."""
    phases = tuple(worth)
    values = {s: np.array([CHANCE + sum(worth[p] for p in s)]) for s in subsets(phases)}
    return {**values, frozenset(): np.array([CHANCE])}, phases


def test_in_a_game_that_adds_up_each_phase_gets_its_worth():
    values, phases = game(NC=0.0, AP=0.2, PVP=0.05, DP=0.1)
    found = shapley(values, phases)
    assert {p: round(float(v[0]), 9) for p, v in found.items()} == {
        "NC": 0,
        "AP": 0.2,
        "PVP": 0.05,
        "DP": 0.1,
    }


def test_two_phases_that_are_worth_something_only_together_share_it():
    values = {frozenset(s): np.array([v]) for s, v in [("", 0.5), ("a", 0.5), ("b", 0.5), ("ab", 0.9)]}
    assert [float(v[0]) for v in shapley(values, ("a", "b")).values()] == pytest.approx([0.2, 0.2])


def test_three_phases_by_hand():
    # Orders abc acb bac bca cab cba give a: 1, 1, 3, 2, 2, 2.
    worth = {"": 0, "a": 1, "b": 2, "c": 0, "ab": 5, "ac": 2, "bc": 4, "abc": 6}
    values = {frozenset(s): np.array([float(v)]) for s, v in worth.items()}
    assert float(shapley(values, ("a", "b", "c"))["a"][0]) == pytest.approx((1 + 1 + 3 + 2 + 2 + 2) / 6)


def test_the_values_of_all_phases_sum_to_what_all_of_them_give(rng):
    values = {s: rng.random(5) for s in [*subsets(("NC", "AP", "PVP", "DP")), frozenset()]}
    total = sum(shapley(values, ("NC", "AP", "PVP", "DP")).values())
    assert total == pytest.approx(values[frozenset(("NC", "AP", "PVP", "DP"))] - values[frozenset()])


def test_sixteen_subsets_of_four_phases_but_the_empty_one():
    assert len(subsets(("NC", "AP", "PVP", "DP"))) == len(set(subsets(("NC", "AP", "PVP", "DP")))) == 15


def only_arterial(phases):
    probabilities = np.full((2, len(LABELS), 3), 1 / 3)
    if "AP" in phases:
        probabilities = np.tile(np.eye(3)[LABELS] * 0.8 + 0.2 / 3, (2, 1, 1))
    return probabilities


def test_a_model_that_uses_one_phase_gives_it_everything():
    resampling = resampling_of(LABELS, draws=100, seed=0)
    found = phase_values(("m", "masking"), only_arterial, ("NC", "AP"), LABELS, resampling.weights)
    rows = {(row["phase"], row["measure"]): row["estimate"] for row in value_rows(found, resampling)}
    assert rows["AP", "shapley"] == pytest.approx(0.5)
    assert rows["NC", "shapley"] == pytest.approx(0)
    assert (rows["NC", "auc_alone"], rows["AP", "auc_without"]) == (0.5, 0.5)
    assert rows["AP", "loss_without"] == pytest.approx(0.5)
    assert [row["phases"] for row in subset_rows(found, resampling)] == ["NC", "AP", "NC+AP"]
