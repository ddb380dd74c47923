"""The engine on a GPU: the same fits as on a CPU, and models that travel between the two."""

import numpy as np
import pytest
import torch

from aggregate.chosen_bags import ChosenBags
from aggregate.folds import Fold
from aggregate.models.base import Attends, GivesEvidence
from aggregate.models.mil import MILEstimator
from aggregate.models.registry import MODELS, build_model, load_model

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that PyTorch can compute on"
)
NETWORKS = [kind for kind, model in MODELS.items() if issubclass(model, MILEstimator)]
DEVICES = ("cpu", "cuda")


def two_folds():
    """Half of the sixty patients train both; the other quarters tune and are tested in turn."""
    quarter = np.arange(60) // 3 % 4  # each holds patients of all classes
    rest = [np.flatnonzero(quarter == k) for k in (0, 1)]
    return [Fold(0, k, train=np.flatnonzero(quarter > 1), tune=rest[1 - k], test=rest[k]) for k in (0, 1)]


FOLDS = two_folds()


def fitted(kind, cohort, device, **parameters):
    """Return the models of both folds, trained together on a device."""
    model = build_model(kind, {"epochs": 4, "device": device} | parameters, random_state=0)
    by_number = dict(model.fit_folds(*cohort, FOLDS, [3, 4]))
    return [by_number[number] for number in range(len(FOLDS))]


@pytest.fixture(scope="module", params=NETWORKS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def on_both(kind, cohort):
    """The same two fits on the CPU and on the GPU."""
    return {device: fitted(kind, cohort, device) for device in DEVICES}


def test_the_same_fits_give_the_same_probabilities_on_either_device(on_both, cohort):
    for cpu, cuda in zip(on_both["cpu"], on_both["cuda"], strict=True):
        assert cuda.best_epoch_ == cpu.best_epoch_
        np.testing.assert_allclose(cuda.predict_proba(cohort[0]), cpu.predict_proba(cohort[0]), atol=1e-4)


def test_a_fit_trained_alone_equals_the_one_of_a_stack_on_the_gpu_too(on_both, kind, cohort):
    bags, labels = cohort
    fold = FOLDS[0]
    alone = build_model(kind, {"epochs": 4, "device": "cuda"}, random_state=3)
    alone.fit(
        ChosenBags(bags, fold.train),
        labels[fold.train],
        tune=(ChosenBags(bags, fold.tune), labels[fold.tune]),
    )
    np.testing.assert_allclose(alone.predict_proba(bags), on_both["cuda"][0].predict_proba(bags), atol=1e-4)


def test_the_parameters_lie_on_the_gpu_and_what_comes_back_is_numpy(on_both, cohort):
    model, bags = on_both["cuda"][0], cohort[0][:10]
    assert {tensor.device.type for tensor in model.parameters_.values()} == {"cuda"}
    answers = [model.predict_proba(bags), *model.learned_arrays().values()]
    answers += model.attention(bags) if isinstance(model, Attends) else []
    answers += model.instance_evidence(bags) if isinstance(model, GivesEvidence) else []
    assert all(isinstance(answer, np.ndarray) for answer in answers)
    assert answers[0].dtype == np.float64


def test_attention_is_the_same_on_either_device(on_both, cohort):
    if not isinstance(on_both["cpu"][0], Attends):
        pytest.skip("this model weighs no slices")
    pairs = (on_both[device][0].attention(cohort[0]) for device in DEVICES)
    for cpu, cuda in zip(*pairs, strict=True):
        np.testing.assert_allclose(cuda, cpu, atol=1e-3)


def test_bfloat16_trains_on_the_gpu(kind, cohort):
    for model in fitted(kind, cohort, "cuda", precision="bfloat16"):
        probabilities = model.predict_proba(cohort[0])
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        assert np.ptp(probabilities, axis=0).min() > 0


def test_fits_that_stop_early_leave_the_stack_on_the_gpu(kind, cohort):
    """Contradicting tuning labels stop a fit in its first epochs while the other goes on."""
    bags, labels = cohort
    labels = labels.copy()
    labels[FOLDS[0].tune] = (labels[FOLDS[0].tune] + 1) % 3
    cpu, cuda = (fitted(kind, (bags, labels), device, epochs=12, patience=1) for device in DEVICES)
    assert [model.best_epoch_ for model in cuda] == [model.best_epoch_ for model in cpu]
    for one, other in zip(cpu, cuda, strict=True):
        np.testing.assert_allclose(other.predict_proba(bags), one.predict_proba(bags), atol=1e-4)


def test_a_model_of_the_gpu_is_saved_and_read_where_there_is_none(on_both, cohort, tmp_path):
    model = on_both["cuda"][0]
    model.save(tmp_path)
    read = load_model(tmp_path)
    assert {tensor.device.type for tensor in read.parameters_.values()} == {"cpu"}
    np.testing.assert_allclose(read.predict_proba(cohort[0]), model.predict_proba(cohort[0]), atol=1e-5)


def test_a_model_of_the_cpu_predicts_on_the_gpu(on_both, cohort, tmp_path):
    on_both["cpu"][0].save(tmp_path)
    moved = load_model(tmp_path).set_params(device="cuda")
    moved.set_learned_arrays(on_both["cpu"][0].learned_arrays())
    np.testing.assert_allclose(
        moved.predict_proba(cohort[0]), on_both["cpu"][0].predict_proba(cohort[0]), atol=1e-5
    )


def test_a_bag_of_one_slice_and_a_missing_phase_work_on_the_gpu(on_both, cohort):
    bags = [bag.take(np.array([0])) for bag in cohort[0][:5]] + [
        bag.take(bag.phase == 1) for bag in cohort[0][5:8]
    ]
    probabilities = (on_both[device][0].predict_proba(bags) for device in DEVICES)
    np.testing.assert_allclose(*probabilities, atol=1e-4)
