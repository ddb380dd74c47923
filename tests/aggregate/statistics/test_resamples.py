import numpy as np

from aggregate.statistics.resamples import draw_resamples

PATIENT_LABELS = np.array([0, 2, 1, 0, 0, 2], dtype=np.intp)


def test_the_first_draw_is_the_cohort_itself():
    assert draw_resamples(PATIENT_LABELS, draws=7, seed=1)[:, 0].tolist() == [1] * 6


def test_every_class_keeps_its_size_in_every_draw():
    weights = draw_resamples(PATIENT_LABELS, draws=50, seed=1)
    for label, size in ((0, 3), (1, 1), (2, 2)):
        assert (weights[label == PATIENT_LABELS].sum(axis=0) == size).all()


def test_equal_seeds_give_equal_draws_and_others_do_not():
    first, again, other = (draw_resamples(PATIENT_LABELS, draws=20, seed=seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_patients_are_drawn_as_often_as_with_replacement():
    weights = draw_resamples(np.zeros(10, dtype=np.intp), draws=20_000, seed=0)[:, 1:]
    assert np.allclose(weights.mean(axis=1), 1, atol=0.05)
    assert np.allclose(weights.var(axis=1), 0.9, atol=0.05)
