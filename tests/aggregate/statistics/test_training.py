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


def losses_of(rng, fold, *, influence, mutual=1.0, own=1.0, noise=0.0):
    """Losses to which every patient of another fold adds h(j, k), normal, with the correlation `mutual` to h(k, j)."""
    repeats, n = fold.shape
    both, each = influence * rng.normal(size=(2, n, n))
    both = np.triu(both, 1) + np.triu(both, 1).T
    h = np.sqrt(mutual) * both + np.sqrt(1 - mutual) * (each - np.diag(np.diag(each)))
    trains = fold[:, :, None] != fold[:, None, :]
    return own * rng.normal(size=n) + (trains * h).sum(axis=2) + noise * rng.normal(size=(repeats, n))


def effects(*, times=300, repeats=5, folds=5, **options):
    """The design effects told by many cohorts of 50."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(2), (30, 20))
    found = []
    for _ in range(times):
        fold = folds_of(rng, labels, repeats=repeats, folds=folds)
        found.append(design_effect(losses_of(rng, fold, **options), labels, fold))
    return np.array(found)


@pytest.mark.parametrize("mutual", [0.1, 0.5, 0.9])
def test_with_many_repeats_mutual_influence_is_found_in_its_true_size(mutual):
    """For n = 50 and p = 9 / 49 of the others in the fold, (1 - m)^2 has the mean (1 - p)^2 + p (1 - p) / 40 = 0.670.

    Independent patients: (1 + 49 x 0.670 h^2) / 50, at h = 0.2 0.0463. Together they add 49 / 50 x 0.670 h^2 = 0.0263
    times the correlation.
    """
    told = effects(influence=0.2, mutual=mutual, repeats=40, times=60)
    assert told.mean() == pytest.approx(1 + mutual * 0.0263 / 0.0463, abs=0.05)


def test_with_five_repeats_influence_that_is_half_mutual_is_found_in_its_true_size():
    """As above with 5 repeats: (1 - p)^2 + p (1 - p) / 5 = 0.696."""
    told = effects(influence=0.2, mutual=0.5)
    assert told.mean() == pytest.approx(1 + 0.5 * 0.0273 / 0.0473, abs=0.05)


def test_two_repeats_say_little_and_the_effect_keeps_to_the_middle_of_what_can_be():
    """p = 11.5 / 49 and one left out of two: (1 - p)^2 + p (1 - p) / 2 = 0.675; all mutual would add 0.0265 / 0.0465."""
    told = effects(influence=0.2, mutual=0.5, repeats=2, folds=4)
    assert told.mean() == pytest.approx(1 + 0.5 * 0.0265 / 0.0465, abs=0.06)
    assert told.std() < 0.15


def test_without_influence_the_effect_is_near_one_whatever_the_noise_of_each_patient():
    """Noise of 0.3^2 could be influence of h^2 = 0.09 / 50 p (1 - p), which all mutual would give 1.55."""
    assert effects(influence=0.0, noise=0.3).mean() == pytest.approx(1.1, abs=0.06)
    assert effects(influence=0.0, noise=0.3, repeats=40, times=60).mean() == pytest.approx(1, abs=0.05)


def test_patients_noisier_than_they_differ_get_at_most_what_nadeau_and_bengio_assume():
    assert effects(influence=0.0, own=0.0, noise=1.0, times=20).max() == 1 + 5 / 4
    assert effects(influence=0.0, own=0.0, noise=1.0, times=20, folds=2).max() == 1 + 2 / 1


def test_patients_who_are_tested_together_do_not_train_each_other():
    losses = np.random.default_rng(0).random((3, 8))
    assert design_effect(losses, np.zeros(8, dtype=np.intp), np.zeros((3, 8), dtype=np.intp)) == 1


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
