"""Networks that know the scale of an instance: by hand, and the laws on bags of two scales; their oracle is in test_oracle.py."""

import numpy as np
import pytest
import torch

from aggregate.models.instances import Instances, pack
from aggregate.models.multiscale_attention import ScaleAttention, ScaleEmbedding
from aggregate.models.network import Shape
from aggregate.models.registry import build_model
from aggregate.models.two_steps import pooled_in_two_steps
from tests.conftest import at_two_scales

WAYS = ("embedding", "attention")


@pytest.fixture(scope="module")
def bags(cohort):
    return [at_two_scales(bag) for bag in cohort[0]]


@pytest.fixture(scope="module", params=WAYS)
def fitted(request, bags, cohort):
    model = build_model("multiscale_attention", {"scales_by": request.param, "epochs": 3}, random_state=0)
    return model.fit(bags[:45], cohort[1][:45])


def of_rows(*rows):
    """Make one bag of rows (scale, features)."""
    scale, features = zip(*rows, strict=True)
    zeros, here = torch.zeros(len(rows), dtype=torch.int64), torch.arange(len(rows))
    return Instances(
        torch.tensor(features), zeros, zeros, here, here, 1, 1, scale=torch.tensor(scale), n_scales=2
    )


def by_hand(kind):
    """A network of which x is embedded as relu(x), all slices of a scale weigh the same, and the logits are the pooled bag."""
    network = kind(Shape(2, 1, 2, 2), hidden=2, gate=1, dropout=0.0).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(
                torch.eye(2) if name in {"embed.0.weight", "classify.weight"} else torch.zeros_like(value)
            )
        network.scale_embedding.copy_(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    return network


ROWS = [(0, (2.0, 4.0)), (0, (4.0, -1.0)), (1, (1.0, 1.0)), (0, (3.0, 5.0))]


def test_an_embedding_is_added_to_every_instance_by_hand():
    """relu and e give (3, 4), (5, 0), (1, 4), (4, 5), each of weight a quarter."""
    output = by_hand(ScaleEmbedding)(of_rows(*ROWS))
    torch.testing.assert_close(output.attention, torch.full((4,), 0.25))
    torch.testing.assert_close(output.logits, torch.tensor([[13 / 4, 13 / 4]]))


def test_attention_over_scales_counts_each_scale_once_by_hand():
    """The mean of scale 0 is (3, 3) + (1, 0), that of scale 1 is (1, 1) + (0, 3); both weigh a half."""
    output = by_hand(ScaleAttention)(of_rows(*ROWS))
    torch.testing.assert_close(output.attention, torch.tensor([1 / 6, 1 / 6, 1 / 2, 1 / 6]))
    torch.testing.assert_close(output.logits, torch.tensor([[(4 + 1) / 2, (3 + 4) / 2]]))


def test_the_gradients_of_two_steps_are_those_of_finite_differences():
    """Three bags of two scales, the second bag without the first scale, the third without the second."""
    torch.manual_seed(0)
    group = torch.tensor([0, 0, 1, 3, 3, 4, 4, 4])
    embedded, scores, embedding, weights = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((8, 3), (8,), (2, 3), (3,))
    )

    def pooled(embedded, scores, embedding, weights):
        return pooled_in_two_steps(
            embedded, scores, group, 3, embedding=embedding, score_of=lambda z: torch.tanh(z) @ weights
        )

    assert torch.autograd.gradcheck(pooled, (embedded, scores, embedding, weights))


def test_a_scale_without_instances_has_no_part():
    network = by_hand(ScaleAttention)
    only = network(of_rows(*[row for row in ROWS if row[0] == 0]))
    torch.testing.assert_close(only.attention, torch.full((3,), 1 / 3))
    torch.testing.assert_close(only.logits, torch.tensor([[4.0, 3.0]]))


@pytest.mark.parametrize("way", WAYS)
def test_of_one_scale_it_is_gated_attention(cohort, way):
    """Not only with equal weights: the whole fit is the same, number by number."""
    bags, labels = cohort
    settings = {"epochs": 3}
    plain = build_model("attention_mil", settings, 4).fit(bags, labels)
    scaled = build_model("multiscale_attention", {**settings, "scales_by": way}, 4).fit(bags, labels)
    assert plain.network_.state_dict().keys() == scaled.network_.state_dict().keys()
    np.testing.assert_array_equal(scaled.predict_proba(bags), plain.predict_proba(bags))
    for ours, theirs in zip(scaled.attention(bags), plain.attention(bags), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_order_of_the_instances_changes_nothing(fitted, bags):
    rng = np.random.default_rng(0)
    shuffled = [bag.take(rng.permutation(len(bag))) for bag in bags]
    np.testing.assert_allclose(fitted.predict_proba(shuffled), fitted.predict_proba(bags), atol=1e-5)


def test_other_bags_and_rows_that_fill_up_change_nothing(fitted, bags):
    alone = np.concatenate([fitted.predict_proba([bag]) for bag in bags])
    np.testing.assert_allclose(alone, fitted.predict_proba(bags), atol=1e-5)
    packed = pack(bags[:3])
    fitted.scaling_.apply_(packed.features)
    with torch.no_grad():
        plain = fitted.network_(packed.take(np.arange(3)))
        filled = fitted.network_(packed.take(np.arange(3), rows_multiple=64))
    torch.testing.assert_close(filled.logits[:3], plain.logits)
    torch.testing.assert_close(filled.attention[: len(plain.attention)], plain.attention)


def test_a_bag_of_one_instance_or_of_one_scale_works(fitted, bags):
    for few in (
        [bag.take(np.array([i])) for bag in bags for i in (0, len(bag) - 1)],
        [bag.take(bag.scale == 1) for bag in bags],
    ):
        assert np.isfinite(fitted.predict_proba(few)).all()
        for weights, bag in zip(fitted.attention(few), few, strict=True):
            assert weights.shape == (len(bag),)
            assert weights.sum() == pytest.approx(1, abs=1e-6)


def test_it_looks_at_the_scale(fitted, bags):
    swapped = [bag.take(np.arange(len(bag))) for bag in bags]
    for bag in swapped:
        bag.scale[:] = 1 - bag.scale
    assert np.abs(fitted.predict_proba(swapped) - fitted.predict_proba(bags)).max() > 1e-3


def test_the_logits_are_the_mean_of_the_evidence_weighted_by_the_attention(fitted, bags):
    weighted = np.stack(
        [w @ e for w, e in zip(fitted.attention(bags), fitted.instance_evidence(bags), strict=True)]
    )
    odds = np.log(fitted.predict_proba(bags))
    np.testing.assert_allclose(np.diff(weighted, axis=1), np.diff(odds, axis=1), atol=1e-4)


def test_a_saved_model_knows_its_scales(fitted, bags, tmp_path):
    fitted.save(tmp_path)
    loaded = type(fitted).load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(bags), fitted.predict_proba(bags))
