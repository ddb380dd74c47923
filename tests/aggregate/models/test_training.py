"""What training a network promises, whatever the network."""

import numpy as np
import pytest
import torch

from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.base import Attends
from aggregate.models.mil import MILEstimator
from aggregate.models.registry import MODELS, build_model, load_model
from aggregate.models.training import one_thread
from pipeline.errors import TrainingError

NETWORKS = [kind for kind, model in MODELS.items() if issubclass(model, MILEstimator) and kind != "module"]


def test_early_stopping_listens_to_the_tuning_labels(cohort):
    """With right tuning labels training goes on; with labels that contradict the training set it stops early."""
    bags, labels = cohort
    model = AttentionMIL(epochs=40, patience=40, learning_rate=5e-3, random_state=0)
    right = model.fit(bags[:24], labels[:24], tune=(bags[24:], labels[24:])).best_epoch_
    wrong = model.fit(bags[:24], labels[:24], tune=(bags[24:], (labels[24:] + 1) % 3)).best_epoch_
    assert wrong < right


def test_the_state_kept_is_that_of_the_best_epoch(cohort):
    bags, labels = cohort
    tune = (bags[24:], (labels[24:] + 1) % 3)
    settings = {"patience": 40, "learning_rate": 5e-3, "random_state": 0}
    long = AttentionMIL(epochs=40, **settings).fit(bags[:24], labels[:24], tune=tune)
    short = AttentionMIL(epochs=long.best_epoch_ + 1, **settings).fit(bags[:24], labels[:24], tune=tune)
    np.testing.assert_array_equal(long.predict_proba(bags), short.predict_proba(bags))


def test_patience_is_the_number_of_epochs_without_a_lower_loss(cohort, monkeypatch):
    bags, labels = cohort
    losses = iter([3.0, 2.0, 2.5, 2.5, 2.5, 0.0])
    monkeypatch.setattr("aggregate.models.training._tuning_loss", lambda *_: next(losses))
    model = AttentionMIL(epochs=9, patience=3, random_state=0)
    assert model.fit(bags[:24], labels[:24], tune=(bags[24:], labels[24:])).best_epoch_ == 1
    assert next(losses) == 0.0


def test_the_tuning_patients_leave_the_scaling_alone(cohort):
    bags, labels = cohort
    alone = AttentionMIL(epochs=1, random_state=0).fit(bags[:24], labels[:24])
    tuned = AttentionMIL(epochs=1, random_state=0).fit(bags[:24], labels[:24], tune=(bags[24:], labels[24:]))
    assert torch.equal(alone.scaling_.mean, tuned.scaling_.mean)
    assert torch.equal(alone.scaling_.std, tuned.scaling_.std)


def test_a_training_that_diverges_says_so(cohort):
    bags, labels = cohort
    with pytest.raises(
        TrainingError, match=r"training diverged in epoch \d+: the loss is \w+; try a learning_rate"
    ):
        AttentionMIL(epochs=5, learning_rate=1e30, random_state=0).fit(bags, labels)


def test_training_leaves_the_global_random_numbers_and_threads_alone(cohort):
    bags, labels = cohort
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    AttentionMIL(epochs=1, random_state=0).fit(bags, labels)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == before


def test_the_threads_are_given_back_even_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", NETWORKS)
def test_no_parameter_is_without_a_gradient(cohort, kind):
    """What has none in exact arithmetic would drift on rounding errors."""
    bags, labels = cohort
    model = build_model(kind, {"epochs": 1, "learning_rate": 1e-3}, random_state=0).fit(bags, labels)
    start = build_model(kind, {"epochs": 1, "learning_rate": 1e-12}, random_state=0).fit(bags, labels)
    after, before = (dict(fit.network_.named_parameters()) for fit in (model, start))
    assert all((after[name] - before[name]).abs().max() > 1e-4 for name in after)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [k for k in NETWORKS if isinstance(MODELS[k](), Attends)])
def test_attention_sums_to_one_in_every_precision(cohort, kind, precision):
    bags, labels = cohort
    model = build_model(kind, {"epochs": 1, "precision": precision}, random_state=0).fit(bags, labels)
    np.testing.assert_allclose([w.sum() for w in model.attention(bags)], 1, atol=1e-5)


def test_a_model_trained_on_a_gpu_is_read_where_there_is_none(cohort, tmp_path):
    bags, labels = cohort
    model = AttentionMIL(epochs=1, random_state=0).fit(bags, labels)
    expected = model.predict_proba(bags)
    model.set_params(device="cuda").save(tmp_path)
    np.testing.assert_array_equal(load_model(tmp_path).predict_proba(bags), expected)


def test_the_course_holds_the_losses_of_every_epoch_and_which_is_kept(cohort):
    bags, labels = cohort
    model = AttentionMIL(epochs=30, patience=4, learning_rate=2e-2, random_state=0)
    course = model.fit(bags[:24], labels[:24], tune=(bags[24:], labels[24:])).course_
    assert len(course.train) == len(course.tune) == course.kept + 1 + 4
    assert course.kept == model.best_epoch_ == int(np.argmin(course.tune))


def test_the_first_loss_of_a_head_of_zeros_is_that_of_guessing_and_without_tuning_there_is_no_second(cohort):
    bags, labels = cohort
    model = build_model(
        "phase_concat", {"epochs": 2, "bags_per_step": len(bags), "class_weight": "none"}, random_state=0
    )
    course = model.fit(bags, labels).course_
    assert course.train[0] == pytest.approx(np.log(3), abs=1e-6)
    assert (course.tune, course.kept) == ((), 1)
