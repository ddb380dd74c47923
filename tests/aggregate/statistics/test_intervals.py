from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from aggregate.statistics.intervals import bootstrap_interval, wilson
from aggregate.statistics.resamples import Sample, draw_resamples


def spread(value, error, *, draws=2001):
    """An estimate and resamples with exactly this standard deviation about it."""
    resampled = np.random.default_rng(0).normal(size=draws - 1)
    resampled = (resampled - resampled.mean()) / resampled.std(ddof=1)
    return np.concatenate([[value], value + error * resampled])


@given(st.integers(0, 40))
def test_wilson_equals_statsmodels(hits):
    expected = proportion_confint(hits, 40, alpha=0.05, method="wilson")
    assert wilson(hits / 40, 40, 0.95) == pytest.approx(expected)


def test_the_linear_interval_by_hand():
    """Student's t for 10 degrees of freedom is 2.228."""
    found = bootstrap_interval(spread(3.0, 0.5), scale="linear", smallest_n=11)
    assert (found.low, found.high) == pytest.approx((3 - 2.228 * 0.5, 3 + 2.228 * 0.5), abs=1e-3)
    assert found.method == "bootstrap error, linear scale"


def test_the_logit_interval_by_hand():
    """At 0.8 the logit is 1.386 and its slope 1 / 0.16 = 6.25."""
    found = bootstrap_interval(spread(0.8, 0.04), scale="logit", smallest_n=11)
    low, high = (1 / (1 + np.exp(-(1.3863 + side * 2.228 * 0.04 * 6.25))) for side in (-1, 1))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_a_design_effect_of_four_doubles_the_error_and_is_told():
    labels = np.zeros(11, dtype=np.intp)
    sample = Sample(labels, draw_resamples(labels, draws=2000, seed=0))
    options = {"scale": "linear", "smallest_n": 11}
    alone = bootstrap_interval(spread(3.0, 0.5), sample=sample, **options)
    shared = bootstrap_interval(spread(3.0, 0.5), sample=replace(sample, design_effect=4.0), **options)
    assert shared.high - shared.low == pytest.approx(2 * (alone.high - alone.low))
    assert alone.method == "bootstrap error, linear scale"
    assert shared.method == "bootstrap error, linear scale, design effect 4.00"


def test_a_perfect_proportion_under_a_design_effect_of_two_counts_half_the_patients():
    labels = np.zeros(40, dtype=np.intp)
    sample = Sample(labels, draw_resamples(labels, draws=99, seed=0), design_effect=2.0)
    found = bootstrap_interval(np.ones(100), scale="logit", smallest_n=40, sample=sample)
    assert (found.low, found.high) == pytest.approx(proportion_confint(20, 20, method="wilson"))
    assert "n = 20" in found.method


@given(st.floats(0.01, 0.99), st.floats(0.001, 0.3))
def test_a_proportion_keeps_its_interval_between_0_and_1(value, error):
    found = bootstrap_interval(spread(value, error, draws=101), scale="logit", smallest_n=20)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.floats(0.05, 5), st.floats(0.001, 1))
def test_a_loss_keeps_its_interval_above_0(value, error):
    found = bootstrap_interval(spread(value, error, draws=101), scale="log", smallest_n=20)
    assert 0 <= found.low < value < found.high


def test_turning_a_proportion_round_turns_its_interval_round():
    there = bootstrap_interval(spread(0.9, 0.03), scale="logit", smallest_n=20)
    back = bootstrap_interval(1 - spread(0.9, 0.03), scale="logit", smallest_n=20)
    assert (there.low, there.high) == pytest.approx((1 - back.high, 1 - back.low))


def test_more_patients_and_less_confidence_give_a_shorter_interval():
    def length(**options):
        found = bootstrap_interval(spread(0.8, 0.05), scale="logit", **{"smallest_n": 20, **options})
        return found.high - found.low

    assert length(smallest_n=200) < length()
    assert length(confidence=0.9) < length()


def test_a_perfect_proportion_has_wilsons_interval():
    found = bootstrap_interval(np.ones(100), scale="logit", smallest_n=40)
    assert (found.low, found.high) == pytest.approx(proportion_confint(40, 40, method="wilson"))
    assert "n = 40" in found.method


@pytest.mark.parametrize(("value", "scale"), [(0.5, "logit"), (1.0, "linear"), (0.7, "log")])
def test_what_no_resample_changes_has_no_interval(value, scale):
    found = bootstrap_interval(np.full(100, value), scale=scale, smallest_n=40)
    assert (found.value, found.low, found.high) == (value, None, None)
    assert found.method == "interval not estimable: no resample differs"


def test_an_undefined_estimate_says_so():
    found = bootstrap_interval(np.full(100, np.nan), scale="logit", smallest_n=40)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.method.startswith("not estimable: ")


def test_an_estimate_undefined_in_many_resamples_has_no_interval():
    draws = spread(0.5, 0.1, draws=101)
    draws[1:7] = np.nan
    found = bootstrap_interval(draws, scale="logit", smallest_n=40)
    assert (found.value, found.low) == (0.5, None)
    assert found.method == "interval not estimable: undefined in 6 of 100 resamples"
