"""What laying bags end to end promises, in memory and on disk."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from aggregate.models import instances as instances_module
from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.instances import Scaling, pack


def test_the_rows_of_the_chosen_bags_come_in_the_order_of_the_choice(cohort):
    bags, _ = cohort
    rows = pack(bags).take(np.array([7, 2]))
    expected = np.concatenate([bags[7].features, bags[2].features])
    np.testing.assert_array_equal(rows.features, expected)
    assert rows.bag.tolist() == [0] * len(bags[7]) + [1] * len(bags[2])
    assert rows.phase.tolist() == [*bags[7].phase, *bags[2].phase]
    assert rows.sizes.tolist() == [len(bags[7]), len(bags[2])]


def test_neighbours_are_the_next_slices_of_the_same_phase_in_whatever_order_they_come(cohort):
    shuffle = np.random.default_rng(0).permutation
    bags = [bag.take(shuffle(len(bag))) for bag in cohort[0][:3]]
    rows = pack(bags).take(np.array([2, 0, 1]))
    place = np.concatenate([bags[i].slice_index for i in (2, 0, 1)])
    phase, bag = rows.phase.numpy(), rows.bag.numpy()
    for row in range(len(place)):
        same = (phase == phase[row]) & (bag == bag[row])
        for neighbour, step in ((rows.below[row], -1), (rows.above[row], 1)):
            wanted = np.flatnonzero(same & (place == place[row] + step))
            assert int(neighbour) == (wanted[0] if len(wanted) else row)


def test_filling_is_one_more_bag_and_leaves_the_others_alone(cohort):
    packed = pack(cohort[0])
    plain, filled = packed.take(np.arange(5)), packed.take(np.arange(5), rows_multiple=128)
    n = len(plain.bag)
    assert len(filled.bag) % 128 == 0
    assert filled.n_bags == 6
    assert filled.sizes[5] == len(filled.bag) - n > 0
    for name in ("features", "bag", "phase", "below", "above"):
        assert torch.equal(getattr(filled, name)[:n], getattr(plain, name))
    assert torch.equal(filled.below[n:], torch.arange(n, len(filled.bag)))


def test_padding_is_undone_by_unpadding(cohort):
    rows = pack(cohort[0]).take(np.array([3, 1, 4]))
    padded = rows.padded(rows.features, filling=7.0)
    assert padded.shape == (3, int(rows.sizes.max()), rows.features.shape[1])
    assert (padded[~rows.is_real] == 7).all()
    assert torch.equal(rows.unpadded(padded), rows.features)


def test_the_scaling_is_the_mean_and_deviation_of_the_instances(rng):
    features = rng.normal(5, 3, size=(400, 6)).astype(np.float32)
    features[:, 2] = 0.1
    scaling = Scaling.of(torch.from_numpy(features))
    exact = features.astype(np.float64)
    np.testing.assert_allclose(scaling.mean, exact.mean(axis=0), rtol=1e-5)
    expected = np.where(np.arange(6) == 2, 1, exact.std(axis=0))  # a constant is left as it is
    np.testing.assert_allclose(scaling.std, expected, rtol=1e-5)


@pytest.mark.parametrize("budget", [0, 1000, 20_000])
def test_features_beyond_the_budget_lie_on_disk_and_are_the_same(cohort, monkeypatch, budget):
    bags, _ = cohort
    in_memory = pack(bags)
    monkeypatch.setattr(instances_module, "_FEATURE_BYTES_IN_MEMORY", budget)
    on_disk = pack(bags)
    assert torch.equal(on_disk.features, in_memory.features)
    assert torch.equal(on_disk.to_below, in_memory.to_below)
    assert np.array_equal(on_disk.start, in_memory.start)


def test_a_model_trained_from_disk_predicts_the_same(cohort, monkeypatch):
    bags, labels = cohort
    in_memory = AttentionMIL(epochs=3, random_state=0).fit(bags, labels).predict_proba(bags)
    monkeypatch.setattr(instances_module, "_FEATURE_BYTES_IN_MEMORY", 1000)
    on_disk = AttentionMIL(epochs=3, random_state=0).fit(bags, labels).predict_proba(bags)
    np.testing.assert_array_equal(on_disk, in_memory)


def test_nothing_is_left_in_the_temporary_folder(cohort, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(instances_module, "_FEATURE_BYTES_IN_MEMORY", 1000)
    packed = pack(cohort[0])
    assert packed.features.isfinite().all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux to list what is mapped")
def test_the_space_on_disk_is_given_back_with_the_bags(cohort, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(instances_module, "_FEATURE_BYTES_IN_MEMORY", 1000)

    def is_mapped():
        return os.fspath(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")

    packed = pack(cohort[0])
    assert is_mapped()
    del packed
    assert not is_mapped()


def test_what_is_unknown_is_left_out_of_the_scaling_and_becomes_the_mean():
    nan = float("nan")
    features = torch.tensor([[1.0, nan, 4.0], [3.0, nan, nan], [5.0, nan, 8.0]])
    scaling = Scaling.of(features)
    assert scaling.mean.tolist() == [3, 0, 6]
    assert scaling.std[1:].tolist() == [1, 2]
    scaling.apply_(features)
    assert features[:, 1:].tolist() == [[0, -1], [0, 0], [0, 1]]
