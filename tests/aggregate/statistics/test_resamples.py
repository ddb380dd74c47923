import numpy as np
import pytest

from aggregate.statistics.resamples import Sample, draw_resamples

PATIENT_LABELS = np.array([0, 2, 1, 0, 0, 2], dtype=np.intp)


def test_the_first_draw_is_the_cohort_itself():
    assert draw_resamples(PATIENT_LABELS, draws=7, seed=1)[:, 0].tolist() == [1] * 6


def test_every_class_keeps_its_size_in_every_draw():
    weights = draw_resamples(PATIENT_LABELS, draws=50, seed=1)
    for label, size in ((0, 3), (1, 1), (2, 2)):
        assert weights[label == PATIENT_LABELS].sum(axis=0) == pytest.approx(np.full(51, size))


def test_equal_seeds_give_equal_draws_and_others_do_not():
    first, again, other = (draw_resamples(PATIENT_LABELS, draws=20, seed=seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_half_of_an_even_class_is_drawn_and_counts_twice():
    weights = draw_resamples(np.zeros(10, dtype=np.intp), draws=20_000, seed=0)[:, 1:]
    assert (np.sort(weights, axis=0)[:, 0] == [0] * 5 + [2] * 5).all()
    assert np.ptp(np.sort(weights, axis=0), axis=1).max() == 0
    assert np.allclose(weights.mean(axis=1), 1, atol=0.05)


def test_an_odd_class_of_five_gives_three_in_three_of_five_draws():
    drawn = (draw_resamples(np.zeros(5, dtype=np.intp), draws=20_000, seed=0)[:, 1:] > 0).sum(axis=0)
    assert set(drawn.tolist()) == {2, 3}
    assert np.mean(drawn == 3) == pytest.approx(3 / 5, abs=0.02)


@pytest.mark.parametrize("n", [2, 5, 10, 15])
def test_the_variance_of_a_mean_is_that_of_the_textbook(n):
    values = np.random.default_rng(n).exponential(size=n)
    weights = draw_resamples(np.zeros(n, dtype=np.intp), draws=100_000, seed=0)[:, 1:]
    assert np.var(values @ weights / n) == pytest.approx(np.var(values, ddof=1) / n, rel=0.03)


def sample_of(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Sample(labels, draw_resamples(labels, draws=4000, seed=0))


def test_a_metric_of_one_class_has_a_degree_of_freedom_less_than_its_patients():
    sample = sample_of((12, 30))
    values = np.random.default_rng(0).normal(size=42) * (sample.labels == 0)
    assert sample.freedom(values @ sample.weights) == pytest.approx(11, abs=0.5)


def test_two_classes_of_equal_variance_add_their_degrees_of_freedom():
    """Two equal parts v of n - 1 = 9 degrees each: (2 v)^2 / (v^2 / 9 + v^2 / 9) = 18."""
    sample = sample_of((10, 10))
    values = np.tile(np.random.default_rng(0).normal(size=10), 2)
    assert sample.freedom(values @ sample.weights) == pytest.approx(18, abs=0.5)


def test_what_no_draw_changes_has_the_degrees_of_the_smallest_class():
    assert sample_of((10, 4)).freedom(np.ones(4001)) == 3


def test_undefined_draws_are_left_out_of_the_degrees_of_freedom():
    sample = sample_of((12, 30))
    draws = (np.random.default_rng(0).normal(size=42) * (sample.labels == 0)) @ sample.weights
    draws[5:50] = np.nan
    assert sample.freedom(draws) == pytest.approx(11, abs=0.5)


def test_half_the_patients_have_half_of_what_the_design_effect_adds():
    sample = Sample(PATIENT_LABELS, np.ones((6, 2)), design_effect=1.6)
    assert sample.of_share(0.5).design_effect == pytest.approx(1.3)
    assert sample.of_share(1).design_effect == 1.6
    assert Sample(PATIENT_LABELS, np.ones((6, 2))).of_share(0.5).design_effect is None
