"""What single aggregators compute, on bags small enough to do by hand, and laws of their own."""

import numpy as np
import pytest
import torch

from aggregate.models.clam import most_and_least
from aggregate.models.instances import Instances
from aggregate.models.registry import build_model


def rows_of(*sizes):
    bag = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    here = torch.arange(len(bag))
    return Instances(torch.zeros(len(bag), 1), bag, torch.zeros_like(bag), here, here, len(sizes), 1)


def test_clam_never_counts_a_slice_as_both_like_and_unlike_its_class():
    """Bags of five, one and two slices, three wanted of each kind: 3 + 2, 1 + 0 and 1 + 1 slices are given."""
    scores = torch.tensor([0.1, 0.5, 0.3, 0.9, 0.7, 0.2, 0.4, 0.6])
    most, least = most_and_least(rows_of(5, 1, 2), scores, 3)
    third, half = 1 / 3, 1 / 2
    torch.testing.assert_close(most, torch.tensor([0, third, 0, third, third, 1, 0, 1]))
    torch.testing.assert_close(least, torch.tensor([half, 0, half, 0, 0, 0, 1, 0]))


def test_clam_takes_no_more_slices_than_it_is_told():
    most, least = most_and_least(rows_of(6), torch.arange(6.0), 2)
    assert most.tolist() == [0, 0, 0, 0, 0.5, 0.5]
    assert least.tolist() == [0.5, 0.5, 0, 0, 0, 0]


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
        settings = {"epochs": 2, "smoothness": smoothness, "steps": 20}
        weights = build_model("smooth_attention", settings, random_state=0).fit(bags, labels).attention(bags)
        logs = [np.diff(np.log(w[bag.phase == 1])) for w, bag in zip(weights, bags, strict=True)]
        spread.append(np.abs(np.concatenate(logs)).mean())
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize("kind", ["attention_mil", "clam"])
def test_instance_evidence_of_attention_is_the_logit_of_a_bag_of_one(cohort, kind):
    bags, labels = cohort
    model = build_model(kind, {"epochs": 2}, random_state=0).fit(bags, labels)
    alone = [bags[0].take(np.array([i])) for i in range(len(bags[0]))]
    evidence = torch.from_numpy(model.instance_evidence(bags[:1])[0])
    np.testing.assert_allclose(evidence.softmax(dim=1).numpy(), model.predict_proba(alone), atol=1e-5)


def test_phase_attention_of_a_single_phase_is_all_on_it(cohort):
    bags, labels = cohort
    model = build_model("phase_attention", {"epochs": 2}, random_state=0).fit(bags, labels)
    (weights,) = model.attention([bags[0].in_phases(["AP"])])
    assert weights.sum() == pytest.approx(1, abs=1e-6)


def test_attention_looks_where_the_signal_is(cohort):
    bags, labels = cohort
    lit = [bag.take(np.arange(len(bag))) for bag in bags]
    for bag, label in zip(lit, labels, strict=True):
        bag.features[bag.phase == 1, label] += 8
    model = build_model("attention_mil", {"epochs": 25}, random_state=0).fit(lit[:45], labels[:45])
    shares = [w[bag.phase == 1].sum() for w, bag in zip(model.attention(lit), lit, strict=True)]
    assert np.mean(shares) > np.mean([(bag.phase == 1).mean() for bag in lit])
