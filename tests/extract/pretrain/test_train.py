import json
import math

import pytest
import torch
from rich.progress import Progress

from extract.encoders import load_encoder
from extract.pretrain.card import write_encoder
from extract.pretrain.settings import ObjectiveSettings, PretrainConfig
from extract.pretrain.train import checkpoint_path, folded, losses, rate, train, trunk
from extract.pretrain.views import draw_views
from pipeline.errors import ConfigError
from pipeline.provenance import sha256_of_file


@pytest.fixture
def config(tmp_path):
    return PretrainConfig(
        name="toy", output=tmp_path, architecture="squeezenet1_1", minutes=5, steps=3, batch=8, threads=1,
        pool={"folder": tmp_path / "pool", "images": 48, "size": 32, "formulas": {"noise": 3}, "redraw": False},
        views={"size": 32, "final_size": 32},
    )  # fmt: skip


def trained(config):
    with Progress(disable=True) as progress:
        return train(config, progress)


def test_training_goes_on_where_it_was_cut_off(config):
    first = trained(config.model_copy(update={"steps": 2}))
    assert (first.step, first.views) == (2, 16)
    assert checkpoint_path(config).exists()
    second = trained(config)
    assert (second.step, second.views) == (3, 24)
    assert second.seconds > first.seconds
    assert len(second.curve) == len(first.curve) + 1


def test_the_written_encoder_loads_strictly_and_embeds_as_it_was_trained(config):
    run = trained(config)
    path = write_encoder(config, run)
    encoder = load_encoder("squeezenet1_1", str(path), precision="float32")
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = run.averaged_trunk()(encoder.normalise(images))
    assert torch.allclose(encoder.embed(images), expected, rtol=0.05, atol=0.01)


def test_the_card_says_what_the_file_is(config):
    path = write_encoder(config, trained(config))
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == sha256_of_file(path)
    assert card["licence"] == "Apache-2.0"
    assert card["architecture"] == "squeezenet1_1"
    assert card["training"]["steps"] == 3
    assert card["curve"]["columns"][:3] == ["minutes", "step", "views"]
    assert all(len(row) == len(card["curve"]["columns"]) for row in card["curve"]["rows"])


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "mobilenet_v3_small", "resnet18"])
def test_folding_the_norms_changes_no_feature(architecture):
    torch.manual_seed(0)
    network, dim = trunk(architecture)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 64, 64))
        images = torch.randn(2, 3, 64, 64)
        expected = network.eval()(images)
        found = folded(network)(images)
    assert found.shape == (2, dim)
    assert torch.allclose(found, expected, atol=1e-4)


def test_an_unknown_architecture_is_named(config):
    with pytest.raises(ConfigError, match="unknown encoder 'squeezenet'"):
        trained(config.model_copy(update={"architecture": "squeezenet"}))


def test_instances_that_are_known_again_cost_less():
    chance = torch.Generator().manual_seed(0)
    views = [draw_views(torch.randn(4, 16, 16, generator=chance), 16, chance) for _ in range(2)]
    objective = ObjectiveSettings(formula=0, factors=0, instance=1)
    units = torch.eye(4).repeat(2, 1)
    told = (torch.zeros(8, 5), torch.zeros(8, views[0].factors.shape[1]))
    formula = torch.arange(4)
    known = losses((*told, units), formula, views, objective)["loss"]
    confused = losses((*told, units.roll(1, 0)[[0, 1, 2, 3, 5, 6, 7, 4]]), formula, views, objective)["loss"]
    assert known < confused
    # Worked by hand: one partner at likeness 1, six others at 0, temperature 0.2.
    assert float(known) == pytest.approx(-math.log(math.exp(5) / (math.exp(5) + 6)), rel=1e-5)


def test_the_learning_rate_rises_and_falls_to_nothing(config):
    rates = [rate(config, done) for done in (0.0, 0.03, 0.5, 1.0)]
    assert rates[0] < rates[1]
    assert rates[1] == pytest.approx(config.learning_rate, rel=0.01)
    assert rates[2] == pytest.approx(config.learning_rate / 2, rel=0.01)
    assert rates[3] == pytest.approx(0, abs=1e-9)
