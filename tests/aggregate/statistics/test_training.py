import numpy as np
import pytest

from aggregate.statistics.resamples import draw_resamples
from aggregate.statistics.training import design_effect, trained_sample


def folds_of(rng, labels, *, repeats=5, folds=5):
    fold = np.zeros((repeats, len(labels)), dtype=np.intp)
    for of_repeat in fold:
        for k in np.unique(labels):
            members = np.flatnonzero(labels == k)
            of_repeat[rng.permuted(members)] = np.arange(len(members)) % folds
    return fold


def losses_of(rng, fold, *, influence, own=1.0, noise=0.0):
    """Losses to which every patient of another fold adds h(j, k) = h(k, j), normal with this deviation."""
    repeats, n = fold.shape
    h = influence * rng.normal(size=(n, n))
    h = np.triu(h, 1) + np.triu(h, 1).T
    trains = fold[:, :, None] != fold[:, None, :]
    return own * rng.normal(size=n) + (trains * h).sum(axis=2) + noise * rng.normal(size=(repeats, n))


def mean_effect(*, times=300, **options):
    """One cohort tells the design effect roughly; the mean over many tells whether it is right."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(2), (30, 20))
    found = []
    for _ in range(times):
        fold = folds_of(rng, labels)
        found.append(design_effect(losses_of(rng, fold, **options), labels, fold))
    return float(np.mean(found))


def test_mutual_influence_is_found_in_its_true_size():
    """For n = 50 and p = 9 / 49 of the others in the fold, (1 - m)^2 has the mean (1 - p)^2 + p (1 - p) / 5 = 0.696.

    Independent patients: (1 + 49 x 0.696 h^2) / 50. Together they add 49 / 50 x 0.696 h^2; at h = 0.2 that is
    0.0273 over 0.0473.
    """
    assert mean_effect(influence=0.2) == pytest.approx(1 + 0.0273 / 0.0473, abs=0.06)


def test_without_influence_the_effect_is_near_one_whatever_the_noise_of_each_patient():
    """Not quite one: what is below 1 by chance is cut."""
    assert mean_effect(influence=0.0, noise=0.3) == pytest.approx(1, abs=0.1)


def test_equal_predictions_in_every_repeat_have_no_effect():
    fold = folds_of(np.random.default_rng(0), np.zeros(20, dtype=np.intp))
    losses = np.tile(np.linspace(0, 1, 20), (5, 1))
    assert design_effect(losses, np.zeros(20, dtype=np.intp), fold) == 1
    assert design_effect(np.ones((5, 20)), np.zeros(20, dtype=np.intp), fold) == 1


def test_the_effect_is_never_below_one_and_has_no_unit():
    rng, labels = np.random.default_rng(1), np.repeat(np.arange(3), (9, 7, 5))
    for _ in range(40):
        fold = folds_of(rng, labels)
        losses = losses_of(rng, fold, influence=0.1)
        effect = design_effect(losses, labels, fold)
        assert effect >= 1
        assert design_effect(3 * losses + 2, labels, fold) == pytest.approx(effect)


def test_the_numbers_of_the_folds_and_the_order_of_the_repeats_do_not_matter():
    rng, labels = np.random.default_rng(2), np.repeat(np.arange(2), (12, 8))
    fold = folds_of(rng, labels)
    losses = losses_of(rng, fold, influence=0.5)
    effect = design_effect(losses, labels, fold)
    assert design_effect(losses, labels, (fold + 2) % 5) == pytest.approx(effect)
    assert design_effect(losses[::-1], labels, fold[::-1]) == pytest.approx(effect)


def test_one_repeat_or_folds_of_one_patient_cannot_tell():
    labels = np.zeros(6, dtype=np.intp)
    losses = np.random.default_rng(0).random((2, 6))
    assert design_effect(losses[:1], labels, np.array([[0, 0, 0, 1, 1, 1]])) is None
    assert design_effect(losses, labels, np.tile(np.arange(6), (2, 1))) is None


def test_a_model_that_says_the_same_in_every_repeat_has_the_effect_one():
    labels = np.repeat(np.arange(2), 10)
    probabilities = np.tile([0.7, 0.3], (5, 20, 1))
    weights = draw_resamples(labels, draws=10, seed=0)
    fold = folds_of(np.random.default_rng(0), labels)
    assert trained_sample(labels, probabilities, fold, weights).design_effect == 1
