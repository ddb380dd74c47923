import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from aggregate.statistics.comparisons import corrected_t, delong, holm, paired_bootstrap
from aggregate.statistics.ranking import mean_auc
from aggregate.statistics.resamples import Sample, draw_resamples

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def two_models(seed, *, n=60, better=0.0):
    rng = np.random.default_rng(seed)
    is_positive = np.arange(n) % 3 == 0
    shared = rng.normal(size=n) + 1.5 * is_positive
    scores = shared + rng.normal(size=(2, 1, n))
    scores[0] += better * is_positive
    return scores[0], scores[1], is_positive


def naive_delong(a, b, is_positive):
    """Variance of the AUC difference from every pair of a positive and a negative, one comparison at a time."""
    positives, negatives = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)

    def win(scores, i, j):
        return 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0

    v10 = [[np.mean([win(s, i, j) for j in negatives]) for i in positives] for s in (a, b)]
    v01 = [[np.mean([win(s, i, j) for i in positives]) for j in negatives] for s in (a, b)]
    covariance = np.cov(v10) / len(positives) + np.cov(v01) / len(negatives)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return np.mean(v10[0]) - np.mean(v10[1]), math.sqrt(variance)


def test_delong_equals_a_loop_over_all_pairs():
    a, b, is_positive = two_models(0)
    a, b = a.round(1), b.round(1)
    difference, error = naive_delong(a[0], b[0], is_positive)
    found = delong(a, b, is_positive)
    assert found.value == pytest.approx(difference)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * error)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(difference) / error))


def test_delongs_difference_is_that_of_scikit_learns_areas():
    a, b, is_positive = two_models(1)
    expected = roc_auc_score(is_positive, a[0]) - roc_auc_score(is_positive, b[0])
    assert delong(a, b, is_positive).value == pytest.approx(expected)


def test_the_bootstrap_and_delong_agree():
    a, b, is_positive = two_models(2, n=300, better=0.3)
    weights = draw_resamples(is_positive.astype(np.intp), draws=4000, seed=0)
    draws = [mean_auc(scores, is_positive, weights) for scores in (a, b)]
    by_bootstrap = paired_bootstrap(*draws, smallest_n=100)
    by_delong = delong(a, b, is_positive)
    assert by_bootstrap.value == pytest.approx(by_delong.value)
    assert by_bootstrap.low == pytest.approx(by_delong.low, abs=0.004)
    assert by_bootstrap.high == pytest.approx(by_delong.high, abs=0.004)


def test_the_corrected_t_by_hand():
    """Four folds, differences 0.1, 0.3, 0.2, 0.2: mean 0.2, variance 0.02 / 3; test over train is 1/3."""
    found = corrected_t(np.array([0.1, 0.3, 0.2, 0.2]), test_over_train=1 / 3)
    error = math.sqrt((1 / 4 + 1 / 3) * 0.02 / 3)
    assert found.value == pytest.approx(0.2)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.2 / error, 3))
    assert found.high == pytest.approx(0.2 + stats.t.ppf(0.975, 3) * error)


def test_a_design_effect_of_four_doubles_the_interval_of_a_difference():
    a, b, is_positive = two_models(5, better=0.3)
    labels = is_positive.astype(np.intp)
    weights = draw_resamples(labels, draws=500, seed=0)
    draws = [mean_auc(scores, is_positive, weights) for scores in (a, b)]
    alone, shared = (
        paired_bootstrap(*draws, smallest_n=20, sample=Sample(labels, weights, effect))
        for effect in (None, 4.0)
    )
    assert shared.high - shared.low == pytest.approx(2 * (alone.high - alone.low))
    assert shared.p_value > alone.p_value


def test_without_overlap_the_corrected_t_is_students():
    differences = np.random.default_rng(0).normal(0.1, 0.2, size=25)
    expected = stats.ttest_1samp(differences, 0)
    assert corrected_t(differences, test_over_train=0).p_value == pytest.approx(expected.pvalue)


def test_folds_that_lack_a_class_are_left_out_of_the_corrected_t():
    known = np.array([0.1, 0.3, 0.2])
    found = corrected_t(np.array([0.1, np.nan, 0.3, 0.2]), test_over_train=0.25)
    assert found == corrected_t(known, test_over_train=0.25)
    assert corrected_t(np.array([0.1, np.nan]), test_over_train=0.25).value is None


def test_swapping_the_models_turns_the_difference_round():
    a, b, is_positive = two_models(3)
    weights = draw_resamples(is_positive.astype(np.intp), draws=200, seed=0)
    draws = [mean_auc(scores, is_positive, weights) for scores in (a, b)]
    pairs = [
        (delong(a, b, is_positive), delong(b, a, is_positive)),
        (paired_bootstrap(*draws, smallest_n=20), paired_bootstrap(*draws[::-1], smallest_n=20)),
    ]
    for there, back in pairs:
        assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
        assert there.p_value == pytest.approx(back.p_value)


@given(st.integers(0, 500))
def test_the_interval_excludes_0_exactly_where_p_is_below_5_percent(seed):
    a, b, is_positive = two_models(seed, better=0.4)
    found = delong(a, b, is_positive)
    assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)


def test_equal_models_do_not_differ():
    a, _, is_positive = two_models(4)
    for found in (
        delong(a, a, is_positive),
        paired_bootstrap(np.full(9, 0.7), np.full(9, 0.7), smallest_n=20),
        corrected_t(np.zeros(5), test_over_train=0.25),
    ):
        assert (found.value, found.p_value, found.low) == (0, 1, None)
        assert found.reason == "the models agree on every patient"


def test_one_patient_of_a_class_is_too_few_for_delong():
    scores = np.arange(4.0)[None]
    found = delong(scores, -scores, np.array([True, False, False, False]))
    assert found.reason == "a class has fewer than 2 patients"


def test_an_undefined_metric_gives_no_difference():
    found = paired_bootstrap(np.full(9, np.nan), np.full(9, 0.7), smallest_n=20)
    assert found.value is None
    assert found.reason


@pytest.mark.parametrize("n", [1, 2, 40])
def test_holm_equals_statsmodels(n):
    p_values = np.random.default_rng(n).beta(0.3, 1, size=n).round(2)
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(P_VALUES)
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_by_hand():
    """0.01 x 3, then 0.02 x 2, then the larger of 0.03 x 1 and what came before."""
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_under_no_difference_5_percent_of_the_p_values_fall_below_5_percent():
    p_values = [delong(*two_models(seed)).p_value for seed in range(400)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
