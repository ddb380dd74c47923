"""Networks on a GPU: the same fits as on a CPU, and models that travel between the two."""

import numpy as np
import pytest
import torch

from aggregate.models.base import Attends, GivesEvidence
from aggregate.models.mil import MILEstimator
from aggregate.models.registry import MODELS, build_model, load_model

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that PyTorch can compute on"
)
NETWORKS = [kind for kind, model in MODELS.items() if issubclass(model, MILEstimator) and kind != "module"]
TRAIN, TUNE = slice(0, 36), slice(36, 60)


def fitted(kind, cohort, device, **parameters):
    """Fit on a device from the same first parameters: a GPU draws other random numbers, so nothing is dropped out."""
    bags, labels = cohort
    without = {} if kind == "instance_pooling" else {"dropout": 0.0}
    model = build_model(kind, {"epochs": 4, "device": device} | without | parameters, random_state=3)
    return model.fit(bags[TRAIN], labels[TRAIN], tune=(bags[TUNE], labels[TUNE]))


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_on_a_gpu_are_those_of_the_cpu(kind, cohort, tmp_path):
    bags = cohort[0]
    cpu, cuda = (fitted(kind, cohort, device) for device in ("cpu", "cuda"))
    expected = cpu.predict_proba(bags)
    assert cuda.best_epoch_ == cpu.best_epoch_
    np.testing.assert_allclose(cuda.predict_proba(bags), expected, atol=1e-3)
    assert {value.device.type for value in cuda.network_.state_dict().values()} == {"cuda"}
    answers = [cuda.predict_proba(bags), *cuda.learned_arrays().values()]
    answers += cuda.attention(bags) if isinstance(cuda, Attends) else []
    answers += cuda.instance_evidence(bags) if isinstance(cuda, GivesEvidence) else []
    assert all(isinstance(answer, np.ndarray) for answer in answers)
    cuda.save(tmp_path)
    read = load_model(tmp_path)
    assert {value.device.type for value in read.network_.state_dict().values()} == {"cpu"}
    np.testing.assert_allclose(read.predict_proba(bags), cuda.predict_proba(bags), atol=1e-4)
    rough = fitted(kind, cohort, "cuda", precision="bfloat16").predict_proba(bags)
    np.testing.assert_allclose(rough, expected, atol=0.05)
