import json

import pytest
import torch
from rich.progress import Progress

from extract.encoders import choose_precision, load_encoder
from extract.pretrain.card import write_encoder
from extract.pretrain.settings import PretrainConfig, ViewSettings
from extract.pretrain.train import Run, checkpoint_path, precision_of, rate, side, train
from extract.pretrain.trunk import folded, trunk, undo_added_norms
from pipeline.errors import ConfigError, WeightsError
from pipeline.provenance import sha256_of_file


@pytest.fixture
def config(tmp_path):
    return PretrainConfig(
        name="toy", output=tmp_path, architecture="squeezenet1_1", steps=3, batch=8, threads=1, checkpoint_steps=2,
        pool={"folder": tmp_path / "pool", "images": 48, "size": 32, "formulas": {"noise": 3}},
        views={"size": 32, "first_size": 32},
    )  # fmt: skip


def trained(config):
    with Progress(disable=True) as progress:
        return train(config, progress)


def test_a_training_that_was_cut_off_comes_to_the_same_end(config, tmp_path, monkeypatch):
    """Cut off in the third step, after a checkpoint at the second and with a pool that is a step ahead."""
    whole = trained(config)
    elsewhere = config.model_copy(
        update={"output": tmp_path / "b", "pool": config.pool.model_copy(update={"folder": tmp_path / "b"})}
    )
    averages = []

    def cut_off(run, memory):
        averages.append(memory)
        if len(averages) == 3:
            raise KeyboardInterrupt
        Run.average(run, memory)

    with monkeypatch.context() as patch:
        patch.setattr("extract.pretrain.train.Run", type("CutOff", (Run,), {"average": cut_off}))
        with pytest.raises(KeyboardInterrupt):
            trained(elsewhere)
    assert checkpoint_path(elsewhere).exists()
    resumed = trained(elsewhere)
    assert resumed.step == whole.step == 3
    for name, value in whole.averaged.items():
        assert torch.equal(value, resumed.averaged[name]), name


def test_a_finished_training_takes_no_further_step(config):
    first, second = trained(config), trained(config)
    assert second.step == 3
    assert second.cpu_seconds == first.cpu_seconds
    assert second.curve == first.curve


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
    assert card["training"]["views"] == 24
    assert card["curve"]["columns"][:3] == ["step", "cpu_minutes", "size"]
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


def test_a_training_begins_from_the_weights_that_it_is_given(config, tmp_path):
    path = write_encoder(config, trained(config))
    images = torch.randn(6, 3, 32, 32)
    begun, _ = trunk("squeezenet1_1", path)
    undo_added_norms(begun, images)
    with torch.no_grad():
        found = begun.train()(images)
        (of_layer,) = load_encoder("squeezenet1_1", str(path), precision="float32").network(images)
        expected = of_layer.values.mean(dim=(2, 3))
    assert torch.allclose(found, expected, atol=1e-3)

    more = config.model_copy(update={"output": tmp_path / "more", "begin_from": path})
    card = json.loads(write_encoder(more, trained(more)).with_suffix(".json").read_text())
    assert card["training"]["begun from"] == {"name": path.name, "sha256": sha256_of_file(path)}


def test_weights_of_another_architecture_are_refused_to_begin_from(config):
    path = write_encoder(config, trained(config))
    with pytest.raises(WeightsError, match="weights of squeezenet1_1, offered for resnet18"):
        trunk("resnet18", path)


@pytest.mark.parametrize("named", ["float32", "bfloat16"])
def test_a_named_precision_is_kept(config, named):
    chosen = config.model_copy(update={"precision": named})
    assert precision_of(chosen, torch.device("cpu")) == named


def test_auto_trains_in_what_the_processor_computes_natively(config):
    assert precision_of(config, torch.device("cpu")) == choose_precision("auto", torch.device("cpu"))


def test_an_unknown_architecture_is_named(config):
    with pytest.raises(ConfigError, match="unknown encoder 'squeezenet'"):
        trained(config.model_copy(update={"architecture": "squeezenet"}))


def test_the_learning_rate_rises_and_falls_to_nothing(config):
    rates = [rate(config, done) for done in (0.0, 0.03, 0.5, 1.0)]
    assert rates[0] < rates[1]
    assert rates[1] == pytest.approx(config.learning_rate, rel=0.01)
    assert rates[2] == pytest.approx(config.learning_rate / 2, rel=0.01)
    assert rates[3] == pytest.approx(0, abs=1e-9)


def test_inputs_have_their_final_size_in_the_last_part():
    views = ViewSettings(size=112, first_size=80, final_share=0.25)
    assert [side(views, done) for done in (0, 0.7, 0.75, 1)] == [80, 80, 112, 112]
