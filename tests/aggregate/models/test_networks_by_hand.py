"""What single aggregators compute, on bags small enough to do by hand, and laws of their own."""

import numpy as np
import pytest
import torch

from aggregate.models.clam import most_and_least
from aggregate.models.instances import Instances
from aggregate.models.network import Shape
from aggregate.models.phase_concat import PhasesSideBySide, block_signs
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


def side_by_side(n_phases=2, **settings):
    """Two features, two classes, means within the phases unless told otherwise."""
    settings = {
        "pool": "mean", "gate": 2, "rank": 0, "missing": "learned", "differences": True, "dropout": 0.0, **settings,
    }  # fmt: skip
    return PhasesSideBySide(Shape(2, n_phases, 2), **settings).eval()


def instances_of(*bags):
    """Lay bags end to end: each a list of (phase, features)."""
    rows = [(number, *row) for number, bag in enumerate(bags) for row in bag]
    bag, phase, features = zip(*rows, strict=True)
    here = torch.arange(len(rows))
    return Instances(
        torch.tensor(features), torch.tensor(bag), torch.tensor(phase), here, here, len(bags), n_phases=2
    )


def test_the_blocks_are_the_phases_then_later_less_earlier():
    assert block_signs(3, differences=True).tolist() == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 1, 0], [-1, 0, 1], [0, -1, 1],
    ]  # fmt: skip
    assert block_signs(2, differences=False).tolist() == [[1, 0], [0, 1]]


def test_phases_side_by_side_by_hand():
    """Means (2, 4) and (5, 1), their difference (3, -3); the first class sums all blocks, the second weighs the last."""
    network = side_by_side()
    with torch.no_grad():
        network.classify.weight.copy_(torch.tensor([[1.0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 2, 1]]))
        network.classify.bias.copy_(torch.tensor([0.5, 0.0]))
    output = network(instances_of([(0, (1.0, 3.0)), (0, (3.0, 5.0)), (1, (5.0, 1.0))]))
    torch.testing.assert_close(output.logits, torch.tensor([[2 + 4 + 5 + 1 + 3 - 3 + 0.5, 2 * 3 - 3.0]]))


def test_a_missing_phase_and_its_differences_are_the_learned_vectors():
    network = side_by_side()
    with torch.no_grad():
        network.classify.weight.copy_(torch.ones(2, 6))
        network.missing.copy_(torch.tensor([[10.0, 20], [1, 2], [4, 8]]))
    output = network(instances_of([(0, (1.0, 3.0))]))
    torch.testing.assert_close(output.logits, torch.full((1, 2), 1 + 3 + 1 + 2 + 4 + 8.0))


def test_what_is_measured_on_the_training_bags_is_mean_and_spread_of_phases_and_differences(cohort):
    bags, labels = cohort
    network = build_model("phase_concat", {"epochs": 1}, random_state=0).fit(bags, labels).network_
    together = np.concatenate([bag.features for bag in bags])
    mean, std = together.mean(axis=0), together.std(axis=0)
    phases = np.full((len(bags), 4, 16), np.nan)
    for number, bag in enumerate(bags):
        for q in set(bag.phase.tolist()):
            phases[number, q] = ((bag.features[bag.phase == q] - mean) / std).mean(axis=0)
    np.testing.assert_allclose(network.mean, np.nanmean(phases, axis=0), atol=1e-5)
    np.testing.assert_allclose(network.std[:4], np.nanstd(phases, axis=0), atol=1e-5)
    washout = phases[:, 3] - phases[:, 1] - (network.mean[3] - network.mean[1]).numpy()
    number = block_signs(4, differences=True).tolist().index([0, -1, 0, 1])
    np.testing.assert_allclose(network.std[number], np.sqrt(np.nanmean(washout**2, axis=0)), atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"pool": "mean"}, {"rank": 0}, {"differences": False}])
def test_what_the_slices_of_a_complete_bag_speak_for_adds_up_to_its_logits(cohort, settings):
    """The mean of evidence within each phase, weighted as the network weighs, summed over the phases, and the bias."""
    bags, labels = cohort
    settings = {"epochs": 3, "learning_rate": 1e-2, **settings}
    model = build_model("phase_concat", settings, random_state=0).fit(bags, labels)
    complete = [bag for bag in bags if len(set(bag.phase.tolist())) == 4]
    evidence, attention = model.instance_evidence(complete), model.attention(complete)
    bias = model.network_.classify.bias.detach().double().numpy()
    for bag, votes, weights, wanted in zip(
        complete, evidence, attention, model.predict_proba(complete), strict=True
    ):
        within = weights / np.bincount(bag.phase, weights=weights)[bag.phase]
        logits = bias + within @ votes
        np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), wanted, atol=1e-4)


def test_a_phase_is_attended_to_as_far_as_it_moves_the_logits():
    """One slice a phase, the second phase adding twice as much to the difference of the classes: 1/3 and 2/3."""
    network = side_by_side(differences=False)
    with torch.no_grad():
        network.classify.weight.copy_(torch.tensor([[1.0, 0, 2, 0], [0, 0, 0, 0]]))
    output = network(instances_of([(0, (1.0, 0.0)), (1, (1.0, 0.0))], [(0, (1.0, 0.0)), (1, (0.0, 5.0))]))
    torch.testing.assert_close(output.attention, torch.tensor([1 / 3, 2 / 3, 1, 0]))


def test_before_it_has_learned_anything_all_phases_are_attended_to_alike():
    output = side_by_side()(instances_of([(0, (1.0, 0.0)), (0, (2.0, 0.0)), (1, (1.0, 0.0))]))
    torch.testing.assert_close(output.attention, torch.tensor([0.25, 0.25, 0.5]))
