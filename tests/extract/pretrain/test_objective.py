"""Terms of the loss, worked by hand."""

import math
from dataclasses import replace

import pytest
import torch

from extract.pretrain.descriptors import GROUPS, describe, standardised_over_batch
from extract.pretrain.objective import GROUP_WEIGHTS, Told, losses
from extract.pretrain.settings import ObjectiveSettings
from extract.pretrain.views import draw_views

ALONE = {"descriptors": 0.0, "factors": 0.0, "formula": 0.0, "instance": 0.0}
FORMULA = torch.arange(4)


@pytest.fixture
def views():
    chance = torch.Generator().manual_seed(0)
    return [draw_views(torch.randn(4, 32, 32, generator=chance), 32, chance) for _ in range(2)]


@pytest.fixture
def told(views):
    """Every answer right."""
    true = describe(torch.cat([v.clean for v in views]))
    return Told(
        torch.cat([standardised_over_batch(true[name]) for name in GROUPS], 1),
        torch.cat([v.factors for v in views]),
        50 * torch.eye(4).repeat(2, 1),
        torch.eye(4).repeat(2, 1),
    )


def loss(told, views, **weights):
    return float(losses(told, FORMULA, views, ObjectiveSettings(**{**ALONE, **weights}))["loss"])


def test_right_answers_cost_nothing(told, views):
    assert loss(told, views, descriptors=1.0, factors=1.0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "place"),
    [("edges", slice(64, 192)), ("histogram", slice(208, 224)), ("surround", slice(224, None))],
)
def test_a_group_of_descriptors_counts_by_its_weight_whatever_its_length(told, views, name, place):
    wrong = replace(told, descriptors=told.descriptors.clone())
    wrong.descriptors[:, place] += 1
    share = GROUP_WEIGHTS[name] / sum(GROUP_WEIGHTS.values())
    assert loss(wrong, views, descriptors=1.0) == pytest.approx(share, rel=1e-5)


def test_instances_that_are_known_again_cost_less(told, views):
    known = loss(told, views, instance=1.0)
    # One partner at likeness 1, six others at 0, temperature 0.2.
    assert known == pytest.approx(-math.log(math.exp(5) / (math.exp(5) + 6)), rel=1e-5)
    confused = replace(told, instance=told.instance[[0, 1, 2, 3, 5, 6, 7, 4]])
    assert loss(confused, views, instance=1.0) > known


def test_the_terms_add_up_by_their_weights(told, views):
    weights = {"descriptors": 0.5, "factors": 2.0, "formula": 0.25, "instance": 3.0}
    terms = losses(told, FORMULA, views, ObjectiveSettings(**weights))
    assert float(terms["loss"]) == pytest.approx(
        sum(w * float(terms[k]) for k, w in weights.items()), rel=1e-6
    )
    assert terms["accuracy"] == 1
