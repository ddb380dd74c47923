"""What each aggregator computes, on bags small enough to do by hand."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from aggregate.models.clam import ClusteringAttention
from aggregate.models.layers import neighbours
from aggregate.models.packing import PackedBags, draw_batch, pack, scaling_of
from aggregate.models.registry import build_model
from aggregate.models.simple_pooling import pool_rows


@pytest.fixture
def two_bags():
    """Bags of two and one slices, and a row that belongs to neither."""
    in_bag = torch.tensor([[[True, True, False, False], [False, False, True, False]]])
    values = torch.tensor([[[1.0, 5.0], [3.0, 1.0], [-2.0, -2.0], [99.0, 99.0]]])
    return values, in_bag


def test_the_mean_of_a_bag(two_bags):
    torch.testing.assert_close(pool_rows("mean", *two_bags), torch.tensor([[[2.0, 3.0], [-2.0, -2.0]]]))


def test_the_maximum_of_a_bag(two_bags):
    torch.testing.assert_close(pool_rows("max", *two_bags), torch.tensor([[[3.0, 5.0], [-2.0, -2.0]]]))


def test_clam_looks_at_as_many_slices_as_there_are(two_bags):
    """log(1 + exp(0)) = log 2, whether the mean is over two slices or over the only one."""
    _, in_bag = two_bags
    network = ClusteringAttention(hidden=1, gate=1, instances=8, instance_share=1.0)
    losses = network._mean_loss(torch.zeros(1, 2, 4), torch.rand(1, 2, 4), in_bag)
    torch.testing.assert_close(losses, torch.full((1, 2), np.log(2.0), dtype=torch.float32))


def test_neighbours_are_the_next_slices_of_the_same_phase(cohort):
    bag = cohort[0][0]
    shuffled = bag.take(np.random.default_rng(0).permutation(len(bag)))
    packed: PackedBags = pack([shuffled])
    batch = draw_batch(packed, [np.array([0])], scaling_of(packed, [np.array([0])]))
    place = torch.from_numpy(shuffled.slice_index.astype(np.float32))[None, :, None]
    phase = torch.from_numpy(shuffled.phase.astype(np.float32))[None, :, None]
    below, above = neighbours(batch, place)
    last = torch.tensor([shuffled.slice_index[shuffled.phase == p].max() for p in shuffled.phase])[
        None, :, None
    ]
    torch.testing.assert_close(below, (place - 1).clamp(min=0))
    torch.testing.assert_close(above, torch.minimum(place + 1, last.float()))
    for other in neighbours(batch, phase):
        torch.testing.assert_close(other, phase)


def test_without_smoothing_smooth_attention_is_gated_attention(cohort):
    bags, labels = cohort
    plain = build_model("attention_mil", {"epochs": 2}, random_state=0).fit(bags, labels)
    smooth = build_model("smooth_attention", {"epochs": 2, "smoothness": 0.0}, random_state=0).fit(
        bags, labels
    )
    np.testing.assert_allclose(plain.predict_proba(bags), smooth.predict_proba(bags), atol=1e-6)


def test_smoothing_brings_neighbours_closer(cohort):
    bags, labels = cohort
    spread = []
    for smoothness in (0.0, 0.9):
        model = build_model(
            "smooth_attention", {"epochs": 2, "smoothness": smoothness, "steps": 20}, random_state=0
        )
        weights = model.fit(bags, labels).attention(bags)
        logs = [np.diff(np.log(w[bag.phase == 1])) for w, bag in zip(weights, bags, strict=True)]
        spread.append(np.abs(np.concatenate(logs)).mean())
    assert spread[1] < spread[0] / 2


def test_instance_evidence_of_attention_is_the_logit_of_a_bag_of_one(cohort):
    bags, labels = cohort
    model = build_model("attention_mil", {"epochs": 2}, random_state=0).fit(bags, labels)
    alone = [bags[0].take(np.array([i])) for i in range(len(bags[0]))]
    evidence = torch.from_numpy(model.instance_evidence(bags[:1])[0])
    np.testing.assert_allclose(evidence.softmax(dim=1).numpy(), model.predict_proba(alone), atol=1e-5)


def test_phase_attention_of_a_single_phase_is_all_on_it(cohort):
    bags, labels = cohort
    model = build_model("phase_attention", {"epochs": 2}, random_state=0).fit(bags, labels)
    (weights,) = model.attention([bags[0].in_phases(["AP"])])
    assert weights.sum() == pytest.approx(1, abs=1e-6)


def test_a_forest_kept_as_arrays_is_the_forest_of_scikit_learn(cohort, monkeypatch):
    bags, labels = cohort
    grown = []
    fit = RandomForestClassifier.fit
    monkeypatch.setattr(
        RandomForestClassifier, "fit", lambda self, *a: grown.append(fit(self, *a)) or grown[0]
    )
    model = build_model("random_forest", {"trees": 30}, random_state=0).fit(bags[:40], labels[:40])
    vectors = model._vectors(bags)
    assert np.isnan(vectors).any()
    np.testing.assert_allclose(model.predict_proba(bags), grown[0].predict_proba(vectors), atol=1e-12)
