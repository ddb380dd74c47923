"""What training fits together promises."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from aggregate.folds import Fold
from aggregate.models import engine
from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.engine import Job, class_weights_of
from aggregate.models.mil import MILEstimator
from aggregate.models.packing import draw_batch, masked_softmax, pack, scaling_of
from aggregate.models.registry import MODELS, build_model, load_model


def folds_of(n, n_folds=3):
    """Every third patient is tested, the next third tunes."""
    numbers = np.arange(n)
    return [
        Fold(
            repeat=0,
            fold=f,
            train=numbers[(numbers // 3) % n_folds == (f + 2) % n_folds],
            tune=numbers[(numbers // 3) % n_folds == (f + 1) % n_folds],
            test=numbers[(numbers // 3) % n_folds == f],
        )
        for f in range(n_folds)
    ]


def taken(bags, numbers):
    return [bags[i] for i in numbers]


def fitted_folds(model, bags, labels, folds, seeds):
    """Return the models in the order of the folds."""
    by_number = dict(model.fit_folds(bags, labels, folds, seeds))
    return [by_number[number] for number in range(len(folds))]


@pytest.mark.parametrize("patience", [1, 30])
def test_fits_together_equal_fits_one_by_one(cohort, patience):
    bags, labels = cohort
    model = AttentionMIL(epochs=15, patience=patience, learning_rate=5e-3, random_state=0)
    folds = folds_of(len(bags))
    together = fitted_folds(model, bags, labels, folds, [4, 5, 6])
    for fold, seed, one in zip(folds, [4, 5, 6], together, strict=True):
        alone = AttentionMIL(**{**model.get_params(), "random_state": seed}).fit(
            taken(bags, fold.train), labels[fold.train], tune=(taken(bags, fold.tune), labels[fold.tune])
        )
        assert one.best_epoch_ == alone.best_epoch_
        np.testing.assert_allclose(one.predict_proba(bags), alone.predict_proba(bags), atol=1e-4)


def test_fits_of_unequal_size_and_classes_are_trained_too(cohort):
    bags, labels = cohort
    numbers = np.arange(60)
    folds = [
        Fold(0, 0, train=numbers[:24], tune=numbers[24:30], test=numbers[30:]),
        Fold(
            0, 1, train=numbers[labels != 2][:9], tune=numbers[labels != 2][9:15], test=numbers[labels == 2]
        ),
    ]
    first, second = fitted_folds(AttentionMIL(epochs=2), bags, labels, folds, [0, 1])
    assert first.classes_.tolist() == [0, 1, 2]
    assert second.classes_.tolist() == [0, 1]


def test_a_patient_outside_the_training_set_leaves_the_scaling_alone(cohort):
    bags, _ = cohort
    train = [np.arange(10)]
    some = scaling_of(pack(bags[:10]), train)
    more = scaling_of(pack(bags), train)
    torch.testing.assert_close(some.mean, more.mean)
    torch.testing.assert_close(some.std, more.std)


def test_the_scaling_is_that_of_the_training_instances(cohort):
    bags, _ = cohort
    scaling = scaling_of(pack(bags), [np.arange(5, 12)])
    instances = np.concatenate([bag.features for bag in bags[5:12]]).astype(np.float64)
    np.testing.assert_allclose(scaling.mean[0], instances.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaling.std[0], instances.std(axis=0), rtol=1e-5)


def test_masked_softmax_by_hand():
    scores = torch.tensor([[0.0, 9.0, 1.0986123], [1.0, 2.0, 3.0]])
    is_real = torch.tensor([[True, False, True], [False, False, False]])
    torch.testing.assert_close(masked_softmax(scores, is_real), torch.tensor([[0.25, 0, 0.75], [0.0, 0, 0]]))


def test_early_stopping_listens_to_the_tuning_labels(cohort):
    """With right tuning labels training goes on; with labels that contradict the training set it stops early."""
    bags, labels = cohort
    model = AttentionMIL(epochs=40, patience=40, learning_rate=5e-3, random_state=0)
    right = model.fit(bags[:24], labels[:24], tune=(bags[24:], labels[24:])).best_epoch_
    wrong = model.fit(bags[:24], labels[:24], tune=(bags[24:], (labels[24:] + 1) % 3)).best_epoch_
    assert wrong < right


def test_class_weights_come_from_the_training_patients_only():
    codes = np.array([0, 0, 1, 1, 1, 1])
    job = Job(np.array([0, 1, 2]), np.array([3, 4, 5]), codes, n_classes=2, seed=0, is_balanced=True)
    torch.testing.assert_close(class_weights_of(job), torch.tensor([0.75, 1.5]))


def test_a_planted_signal_is_learned(cohort):
    bags, labels = cohort
    lit = [
        replace(
            bag, features=bag.features + 8 * np.outer(bag.phase == 1, np.eye(16)[label]).astype(np.float32)
        )
        for bag, label in zip(bags, labels, strict=True)
    ]
    model = AttentionMIL(epochs=25, random_state=0).fit(lit[:45], labels[:45])
    assert (model.predict(lit[45:]) == labels[45:]).mean() > 0.9
    shares = [w[bag.phase == 1].sum() for w, bag in zip(model.attention(lit), lit, strict=True)]
    assert np.mean(shares) > np.mean([(bag.phase == 1).mean() for bag in lit])


def test_bfloat16_gives_nearly_the_same_probabilities(cohort):
    bags, labels = cohort
    exact = AttentionMIL(epochs=10, random_state=0).fit(bags, labels).predict_proba(bags)
    rough = (
        AttentionMIL(epochs=10, random_state=0, precision="bfloat16").fit(bags, labels).predict_proba(bags)
    )
    np.testing.assert_allclose(rough, exact, atol=0.1)


def test_a_stack_that_would_not_fit_into_memory_is_cut(cohort, monkeypatch):
    bags, labels = cohort
    model = AttentionMIL(epochs=3, random_state=0)
    whole = fitted_folds(model, bags, labels, folds_of(60), [1, 2, 3])
    monkeypatch.setattr(engine, "_FLOATS_IN_CACHE", 1)
    monkeypatch.setattr(engine, "_FLOATS_IN_MEMORY", 1)
    cut = fitted_folds(model, bags, labels, folds_of(60), [1, 2, 3])
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a.predict_proba(bags), b.predict_proba(bags), atol=1e-5)


def test_when_nobody_asks_for_the_rest_no_thread_trains_on(cohort):
    bags, labels = cohort
    before = threading.active_count()
    fits = AttentionMIL(epochs=3, random_state=0).fit_folds(bags, labels, folds_of(60) * 4, range(12))
    next(fits)
    fits.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", [name for name, model in MODELS.items() if issubclass(model, MILEstimator)])
def test_every_network_gives_the_same_in_a_stack(cohort, kind):
    bags, labels = cohort
    fold, *others = folds_of(60)
    model = build_model(kind, {"epochs": 3, "dropout": 0.5}, random_state=7)
    together = fitted_folds(model, bags, labels, [fold, *others], [7, 8, 9])[0]
    model.fit(taken(bags, fold.train), labels[fold.train], tune=(taken(bags, fold.tune), labels[fold.tune]))
    np.testing.assert_allclose(together.predict_proba(bags), model.predict_proba(bags), atol=1e-4)


def test_a_bfloat16_batch_has_few_possible_lengths_and_its_filling_belongs_to_no_bag(cohort):
    bags, _ = cohort
    packed = pack(bags, dtype=torch.bfloat16)
    chosen = [np.arange(5), np.arange(5, 12)]
    batch = draw_batch(packed, chosen, scaling_of(packed, chosen))
    assert batch.features.shape[1] % 128 == 0
    assert batch.in_bag.sum(dim=(1, 2)).tolist() == [packed.sizes[c].sum() for c in chosen]


def test_a_model_trained_on_a_gpu_is_read_where_there_is_none(cohort, tmp_path):
    bags, labels = cohort
    model = AttentionMIL(epochs=1, random_state=0).fit(bags, labels)
    expected = model.predict_proba(bags)
    model.set_params(device="cuda").save(tmp_path)
    np.testing.assert_array_equal(load_model(tmp_path).predict_proba(bags), expected)
