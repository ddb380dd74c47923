"""What laying bags end to end promises, in memory and on disk."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from aggregate.models import packing
from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.packing import pack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("budget", [0, 1000, 20_000])
def test_features_beyond_the_budget_lie_on_disk_and_are_the_same(cohort, monkeypatch, dtype, budget):
    bags, _ = cohort
    in_memory = pack(bags, dtype=dtype)
    monkeypatch.setattr(packing, "_FEATURE_BYTES_IN_MEMORY", budget)
    on_disk = pack(bags, dtype=dtype)
    assert on_disk.features.dtype == dtype
    assert torch.equal(on_disk.features, in_memory.features)
    assert torch.equal(on_disk.to_below, in_memory.to_below)
    assert np.array_equal(on_disk.start, in_memory.start)


def test_a_model_trained_from_disk_predicts_the_same(cohort, monkeypatch):
    bags, labels = cohort
    in_memory = AttentionMIL(epochs=3, random_state=0).fit(bags, labels).predict_proba(bags)
    monkeypatch.setattr(packing, "_FEATURE_BYTES_IN_MEMORY", 1000)
    on_disk = AttentionMIL(epochs=3, random_state=0).fit(bags, labels).predict_proba(bags)
    np.testing.assert_array_equal(on_disk, in_memory)


def test_nothing_is_left_in_the_temporary_folder(cohort, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(packing, "_FEATURE_BYTES_IN_MEMORY", 1000)
    packed = pack(cohort[0])
    assert packed.features.isfinite().all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux to list what is mapped")
def test_the_space_on_disk_is_given_back_with_the_bags(cohort, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(packing, "_FEATURE_BYTES_IN_MEMORY", 1000)

    def is_mapped():
        return os.fspath(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")

    packed = pack(cohort[0])
    assert is_mapped()
    del packed
    assert not is_mapped()
