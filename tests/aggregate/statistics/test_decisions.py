import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from aggregate.statistics.decisions import choose_threshold, net_benefit

SCORES = np.array([0.9, 0.7, 0.6, 0.4, 0.3, 0.2])
IS_POSITIVE = np.array([True, True, False, True, False, False])


@pytest.mark.parametrize(
    ("rule", "target", "expected"),
    [
        ("youden", 0.9, 0.7),  # 2/3 + 3/3, the first of two equals
        ("sensitivity", 1.0, 0.4),
        ("sensitivity", 0.6, 0.7),
        ("specificity", 1.0, 0.7),
        ("specificity", 0.6, 0.4),
    ],
)
def test_thresholds_by_hand(rule, target, expected):
    assert choose_threshold(SCORES, IS_POSITIVE, rule=rule, target=target) == expected


@given(st.integers(0, 5000))
def test_youden_reaches_what_scikit_learns_curve_reaches(seed):
    rng = np.random.default_rng(seed)
    scores, is_positive = rng.integers(0, 9, 25) / 10, np.arange(25) % 4 == 0
    threshold = choose_threshold(scores, is_positive, rule="youden", target=0.5)
    called = scores >= threshold
    false_positives, sensitivity, _ = roc_curve(is_positive, scores)
    reached = called[is_positive].mean() - called[~is_positive].mean()
    # The curve also offers to call nobody, which reaches 0.
    assert max(0, reached) == pytest.approx((sensitivity - false_positives).max())


@given(st.integers(0, 5000), st.floats(0.05, 0.95))
def test_a_value_to_reach_is_reached(seed, target):
    rng = np.random.default_rng(seed)
    scores, is_positive = rng.integers(0, 9, 25) / 10, np.arange(25) % 4 == 0
    for rule, members in (("sensitivity", is_positive), ("specificity", ~is_positive)):
        called = scores >= choose_threshold(scores, is_positive, rule=rule, target=target)
        assert (called if rule == "sensitivity" else ~called)[members].mean() >= target - 1e-9


def test_when_a_negative_scores_highest_nobody_is_called():
    threshold = choose_threshold(
        np.array([1.0, 0.1]), np.array([False, True]), rule="specificity", target=0.9
    )
    assert threshold > 1


def test_without_both_kinds_of_patients_there_is_no_threshold():
    for is_positive in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool)):
        assert choose_threshold(SCORES[:3], is_positive, rule="youden", target=0.9) is None


def test_net_benefit_by_hand():
    """At 0.25, 2 of 4 are true positives and 1 a false one: (2 - 1 x 1/3) / 4."""
    probabilities = np.array([[0.9, 0.3, 0.25, 0.1]])
    is_positive = np.array([True, True, False, False])
    found = net_benefit(probabilities, is_positive, np.ones((4, 1)), np.array([0.25]))
    assert found == pytest.approx((2 - 1 / 3) / 4)


def test_treating_everybody_at_the_prevalence_gains_nothing_and_nobody_never_does():
    is_positive = np.arange(40) < 10
    weights, thresholds = np.ones((40, 1)), np.array([0.25])
    assert net_benefit(np.ones((1, 40)), is_positive, weights, thresholds) == pytest.approx(0)
    assert net_benefit(np.zeros((1, 40)), is_positive, weights, thresholds) == pytest.approx(0)


@given(st.integers(0, 1000))
def test_net_benefit_never_exceeds_the_prevalence(seed):
    rng = np.random.default_rng(seed)
    is_positive = rng.random(30) < 0.4
    found = net_benefit(rng.random((3, 30)), is_positive, np.ones((30, 1)), np.linspace(0.05, 0.95, 10))
    assert (found <= is_positive.mean() + 1e-12).all()


def test_repeats_are_averaged():
    rng = np.random.default_rng(0)
    probabilities, is_positive = rng.random((3, 30)), np.arange(30) < 12
    weights, thresholds = np.ones((30, 1)), np.array([0.2, 0.6])
    each = [net_benefit(row[None], is_positive, weights, thresholds) for row in probabilities]
    assert net_benefit(probabilities, is_positive, weights, thresholds) == pytest.approx(
        np.mean(each, axis=0)
    )
