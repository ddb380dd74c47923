"""Each door with a small network of the classes it is for, which the test builds, saves and loads."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from extract.card_input import turned, turned_back
from extract.doors.opening import open_network
from extract.offline import offline_library
from pipeline.errors import ConfigError, WeightsError
from tests.extract.doors.networks import (
    FOLDERS,
    SMALL,
    Patches,
    Volume,
    door_with_network,
    save_folder,
    save_program,
)


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("network", FOLDERS)
@torch.inference_mode()
def test_a_folder_gives_the_tokens_of_its_class_on_their_grid(desk, images, network):
    built = save_folder(desk.folder / "saved", network)
    expected = built(pixel_values=images).last_hidden_state
    (layer,) = desk.open("huggingface", "saved", network=network)(images)
    n_prefix = FOLDERS[network][2]
    torch.testing.assert_close(layer.values, expected)
    assert (layer.grid, layer.n_prefix) == ((4, 4), n_prefix)
    torch.testing.assert_close(layer.places[:, :, 1, 2], expected[:, n_prefix + 1 * 4 + 2])
    if n_prefix:
        torch.testing.assert_close(layer.class_token, expected[:, 0])
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@torch.inference_mode()
def test_a_folder_of_one_channel_and_another_size_is_read_as_its_class_reads_it(desk):
    built = save_folder(desk.folder / "saved", "Dinov2Model", num_channels=1)
    images = torch.randn(2, 1, 48, 40)
    (layer,) = desk.open("huggingface", "saved", network="Dinov2Model", channels=1, size=(48, 40))(images)
    torch.testing.assert_close(layer.values, built(pixel_values=images).last_hidden_state)
    assert layer.grid == (6, 5)


@torch.inference_mode()
def test_inner_blocks_are_read_by_their_names(desk, images):
    built = save_folder(desk.folder / "saved", "Dinov2Model")
    output = 'layers = ["encoder.layer.0", "penultimate"]'
    inner, last = desk.open("huggingface", "saved", network="Dinov2Model", output=output)(images)
    expected = built(pixel_values=images, output_hidden_states=True)
    torch.testing.assert_close(inner.values, expected.hidden_states[1])
    torch.testing.assert_close(last.values, expected.last_hidden_state)
    assert (inner.layer, inner.grid) == ("encoder.layer.0", (4, 4))


@torch.inference_mode()
def test_the_pictures_half_of_siglip_is_read_of_a_folder_with_texts(desk, images):
    transformers = offline_library("transformers", extra="encoders")
    half = {"intermediate_size": 32, **SMALL}
    texts = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.SiglipConfig(text_config=texts, vision_config=half)
    torch.manual_seed(4)
    built = transformers.SiglipModel(config).eval()
    built.save_pretrained(desk.folder / "saved")
    (layer,) = desk.open("huggingface", "saved", network="SiglipVisionModel")(images)
    expected = built.vision_model(pixel_values=images).last_hidden_state
    torch.testing.assert_close(layer.values, expected)


@pytest.mark.parametrize(
    "network", ["test_vit", "test_convnext", "test_resnet", "swin_tiny_patch4_window7_224"]
)
@torch.inference_mode()
def test_timms_networks_give_what_timm_gives(desk, network):
    timm = offline_library("timm", extra="encoders")
    torch.manual_seed(2)
    size = (64, 64)
    fixed = timm.get_pretrained_cfg(network).fixed_input_size
    built = timm.create_model(
        network, **({"img_size": size} if fixed else {})
    ).eval()  # with a head of 1000 classes
    save_file(built.state_dict(), desk.folder / "w.safetensors")
    images = torch.randn(1, 3, *size)
    (layer,) = desk.open("timm", "w.safetensors", network=network, size=size, dim=built.num_features)(images)
    built.reset_classifier(0)
    expected = built(images)
    found = layer.class_token if layer.class_token is not None else layer.places.mean((2, 3))
    if layer.after_mean is not None:
        found = layer.after_mean(found)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_dinov3_is_read_in_metas_spelling(desk):
    timm = offline_library("timm", extra="encoders")
    torch.manual_seed(2)
    built = timm.create_model("vit_small_patch16_dinov3", num_classes=0, img_size=32).eval()
    # As Meta and MedDINOv3 publish it: other names, and tensors that only training needs.
    metas = {
        key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma").replace("reg_token", "storage_tokens"): value
        for key, value in built.state_dict().items()
    } | {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.zeros(16)}  # fmt: skip
    save_file(metas, desk.folder / "w.safetensors")
    network = desk.open("timm", "w.safetensors", network="vit_small_patch16_dinov3", dim=384)
    images = torch.randn(2, 3, 32, 32)
    (layer,) = network(images)
    torch.testing.assert_close(layer.values, built.forward_features(images))
    assert (layer.grid, layer.n_prefix) == ((2, 2), 5)


@torch.inference_mode()
def test_a_program_gives_its_outputs_in_the_order_of_the_card(desk, images):
    built = save_program(desk.folder / "w.pt2", Patches(), images)
    network = desk.open("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    assert [layer.layer for layer in network(images)] == ["map", "vector"]
    for n in (1, 2, 7):
        more = torch.randn(n, 3, 32, 32)
        found = network(more)
        torch.testing.assert_close(found[0].places, built(more)[0])
        torch.testing.assert_close(found[1].values, built(more)[1])
        assert found[1].places is None


class Offset(nn.Module):
    """A network that names the device it was written on in its graph."""

    def forward(self, images):
        return images.mean((2, 3)) + torch.zeros(3, device="cpu") + torch.tensor([1.0, 2.0, 3.0])


def test_a_program_moves_to_another_device_with_all_that_is_in_it(desk, images):
    save_program(desk.folder / "w.pt2", Offset(), images)
    network = open_network(desk.read("program", "w.pt2", dim=3), "meta")
    assert network(images.to("meta"))[0].values.device.type == "meta"


@torch.inference_mode()
def test_a_program_of_volumes_gives_its_map_in_our_orientation(desk):
    volumes = torch.randn(2, 1, 6, 16, 24)  # slices, rows, columns of ours
    built = save_program(desk.folder / "w.pt2", Volume(), turned(volumes, "LPS"))
    card = {"channels": 1, "orientation": "LPS", "size": (24, 16, 6), "dim": 8}
    (layer,) = desk.open("program", "w.pt2", **card)(volumes)
    expected = turned_back(built(turned(volumes, "LPS")), "LPS")
    torch.testing.assert_close(layer.places, expected)


@pytest.mark.parametrize("orientation", ["AL", "LP"])
@pytest.mark.parametrize("door", ["huggingface", "timm", "program", "torchvision"])
@torch.inference_mode()
def test_the_orientation_of_a_card_changes_nothing_but_what_the_network_sees(desk, images, door, orientation):
    told = door_with_network(desk, images, door)
    (straight, *_) = desk.open(door, **told)(turned(images, orientation))
    (ours, *_) = desk.open(door, **told, orientation=orientation)(images)
    torch.testing.assert_close(turned(ours.places, orientation), straight.places, rtol=1e-4, atol=1e-4)
    if straight.class_token is not None:
        torch.testing.assert_close(ours.class_token, straight.class_token)


class Creates:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def change_weights(path, change):
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


FAULTS = {
    "missing": (lambda s, k: {key: v for key, v in s.items() if key != k}, "1 missing: {key}"),
    "unexpected": (lambda s, k: {**s, "odd": torch.zeros(1)}, "1 unexpected: odd"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("door", "key"), [("huggingface", "layernorm.weight"), ("timm", "bn1.weight"), ("torchvision", "features.0.weight")]
)  # fmt: skip
def test_a_key_too_few_or_too_many_is_one_line_with_card_and_file(desk, images, door, key, fault):
    told = door_with_network(desk, images, door)
    change, expected = FAULTS[fault]
    file = desk.folder / told["file"]
    change_weights(file / "model.safetensors" if file.is_dir() else file, lambda state: change(state, key))
    with pytest.raises(WeightsError) as refused:
        desk.open(door, **told)
    text = str(refused.value)
    wanted = expected.format(key=key)
    assert wanted in text or wanted.replace("1 ", "1 keys ") in text
    assert "tried" in text
    assert told["file"] in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("door", ["huggingface", "timm", "torchvision"])
def test_a_tensor_of_another_shape_is_one_line_with_card_and_file(desk, images, door):
    told = door_with_network(desk, images, door)
    file = desk.folder / told["file"]

    def widened(state):
        key = next(key for key, value in state.items() if value.ndim == 1 and len(value) > 1)
        return {**state, key: torch.zeros(len(state[key]) + 1)}

    change_weights(file / "model.safetensors" if file.is_dir() else file, widened)
    with pytest.raises(WeightsError, match="tried") as refused:
        desk.open(door, **told)
    assert len(str(refused.value).splitlines()) == 1


def test_a_folder_of_another_network_is_refused_before_it_is_built(desk):
    save_folder(desk.folder / "saved", "SiglipVisionModel")
    with pytest.raises(
        WeightsError, match=r"expected model_type dinov2 in config.json, found 'siglip_vision_model'"
    ):
        desk.open("huggingface", "saved", network="Dinov2Model")


def test_a_class_that_no_card_may_name_is_refused_with_those_that_it_may(desk):
    save_folder(desk.folder / "saved", "Dinov2Model")
    with pytest.raises(WeightsError, match=r"expected one of Dinov2Model, .*found 'AutoModel'"):
        desk.open("huggingface", "saved", network="AutoModel")


@pytest.mark.parametrize("door", ["huggingface", "timm", "torchvision"])
def test_a_pickle_under_the_name_of_safetensors_is_one_line_and_runs_nothing(desk, images, door):
    told = door_with_network(desk, images, door)
    file = desk.folder / told["file"]
    weights = file / "model.safetensors" if file.is_dir() else file
    weights.write_bytes(pickle.dumps(Creates(desk.folder / "ran")))
    with pytest.raises(WeightsError, match=f"tried.*{told['file']}") as refused:
        desk.open(door, **told)
    assert len(str(refused.value).splitlines()) == 1
    assert not (desk.folder / "ran").exists()


def test_code_in_a_folder_is_not_run(desk, images):
    save_folder(desk.folder / "saved", "Dinov2Model")
    config = json.loads((desk.folder / "saved" / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil"}
    (desk.folder / "saved" / "config.json").write_text(json.dumps(config))
    (desk.folder / "saved" / "evil.py").write_text("raise SystemExit('this ran')\n")
    assert len(desk.open("huggingface", "saved", network="Dinov2Model")(images)) == 1


def test_a_layer_that_is_none_is_refused_with_those_at_the_top(desk):
    save_folder(desk.folder / "saved", "Dinov2Model")
    with pytest.raises(
        WeightsError, match=r"layer 'blocks.3' to be a module of Dinov2Model, found embeddings, encoder"
    ):
        desk.open("huggingface", "saved", network="Dinov2Model", output='layers = ["blocks.3"]')


def test_a_library_that_is_not_installed_is_told_with_its_extra():
    with pytest.raises(ConfigError, match=r"needs no_such_library, .*pip install 'phasemil\[encoders\]'"):
        offline_library("no_such_library", extra="encoders")
