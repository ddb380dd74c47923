"""torchmil is an extra: without it only the error is tested."""

import importlib.util
import re

import numpy as np
import pytest
import torch

from aggregate.models.registry import build_model, load_model
from aggregate.models.torchmil_adapter import _adjacency
from pipeline.errors import ConfigError

needs_torchmil = pytest.mark.skipif(
    importlib.util.find_spec("torchmil") is None, reason="the extra `mil` is not installed"
)


def test_without_the_extra_the_error_says_what_to_install(cohort, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'phasemil[mil]'")):
        build_model("torchmil", {}, random_state=0).fit(*cohort)


def test_the_adjacency_of_three_slices_in_a_row():
    adjacency = _adjacency(torch.tensor([0, -1, -1]))
    a, b = 1 / 2, 1 / np.sqrt(6)
    torch.testing.assert_close(adjacency, torch.tensor([[a, b, 0], [b, 1 / 3, b], [0, b, a]]).float())


@needs_torchmil
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ABMIL", "SmABMIL", "DSMIL", "TransformerABMIL", "DeepGraphSurv"])
def test_a_model_of_torchmil_keeps_the_contract(name, cohort, tmp_path):
    bags, labels = cohort
    model = build_model("torchmil", {"model": name, "epochs": 1}, random_state=0)
    model.fit(bags[:24], labels[:24], tune=(bags[24:30], labels[24:30]))
    probabilities = model.predict_proba(bags[30:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    again = build_model("torchmil", {"model": name, "epochs": 1}, random_state=0)
    again.fit(bags[:24], labels[:24], tune=(bags[24:30], labels[24:30]))
    np.testing.assert_allclose(again.predict_proba(bags[30:]), probabilities, atol=1e-6)
    model.save(tmp_path)
    np.testing.assert_allclose(load_model(tmp_path).predict_proba(bags[30:]), probabilities, atol=1e-6)


@needs_torchmil
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_model_of_torchmil_is_named(cohort):
    with pytest.raises(ConfigError, match="torchmil has no model 'ABMILL'"):
        build_model("torchmil", {"model": "ABMILL"}, random_state=0).fit(*cohort)
