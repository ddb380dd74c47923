"""Laws of the frozen encoder."""

import importlib
import shutil
from dataclasses import replace

import pytest
import torch

from extract.architectures import ARCHITECTURES
from extract.checkpoints import find_checkpoint, load_strictly, read_checkpoint
from extract.encoders import load_encoder
from extract.selftest import TOLERANCE, check_precision
from extract.vision import torchvision_models
from extract.weights_description import WeightsDescription, card_text, radimagenet
from pipeline.errors import ConfigError, WeightsError, WeightsNotFoundError
from pipeline.provenance import sha256_of_file

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def small():
    return load_encoder("resnet18", "random:0", precision="float32", device="cpu")


@pytest.fixture
def resnet_file(tmp_path):
    def write(name="w.pth", *, change=None):
        torch.manual_seed(1)
        state = torchvision_models().resnet18(weights=None).state_dict()
        state = change(state) if change else state
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return write


def test_features_equal_a_plain_torchvision_forward(images, resnet_file):
    path = resnet_file()
    network = torchvision_models().resnet18(weights=None).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    network.fc = torch.nn.Identity()
    with torch.inference_mode():
        plain = network((images - MEAN) / STD)
    ours = load_encoder("resnet18", str(path), precision="float32", device="cpu").embed(images)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_an_image_has_the_same_bytes_whatever_it_comes_with(small, images):
    together = small.embed(images)
    alone = torch.cat([small.embed(image[None]) for image in images])
    many = small.embed(images.repeat(14, 1, 1, 1))
    assert torch.equal(together, alone)
    assert torch.equal(together, many[-5:])


def test_one_channel_stands_for_three_equal_ones(small, images):
    grey = images[:, :1]
    assert torch.equal(small.embed(grey), small.embed(grey.expand(-1, 3, -1, -1)))


def test_a_mid_layer_is_the_mean_over_its_map(images):
    encoder = load_encoder("resnet18", "random:0", layers=["layer3"], precision="float32", device="cpu")
    network = ARCHITECTURES["resnet18"].build()
    load_strictly(network, ARCHITECTURES["resnet18"], find_checkpoint(ARCHITECTURES["resnet18"], "random:0"))
    maps = []
    network.layer3.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    with torch.inference_mode():
        network.eval()((images - MEAN) / STD)
    torch.testing.assert_close(encoder.embed(images), maps[0].mean((2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
def test_a_wrapper_of_the_keys_is_taken_off(resnet_file, images, prefix):
    wrapped = resnet_file("wrapped.pth", change=lambda s: {prefix + k: v for k, v in s.items()})
    a, b = (load_encoder("resnet18", str(p), precision="float32") for p in (resnet_file(), wrapped))
    assert torch.equal(a.embed(images), b.embed(images))


def test_a_missing_and_an_unexpected_key_are_both_listed(resnet_file):
    path = resnet_file(change=lambda s: {("odd" if k == "conv1.weight" else k): v for k, v in s.items()})
    with pytest.raises(WeightsError, match=r"1 keys missing: conv1.weight; 1 keys unexpected: odd"):
        load_encoder("resnet18", str(path))


def test_weights_of_another_network_stop_the_run(resnet_file):
    with pytest.raises(WeightsError, match="do not fit densenet121"):
        load_encoder("densenet121", str(resnet_file()))


def changed_weights(change):
    """Change every floating-point tensor of a state."""
    return lambda state: {key: change(w) if w.is_floating_point() else w for key, w in state.items()}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda w: (w * 100).to(torch.int8), "expected floating-point numbers, found int8"),
        (lambda w: w.to(torch.complex64), "expected floating-point numbers, found complex64"),
        (lambda w: w * float("nan"), "a number in it is not finite"),
    ],
    ids=["int8", "complex64", "nan"],
)
def test_weights_that_torch_would_cast_in_silence_are_refused(resnet_file, change, fault):
    path = resnet_file(change=changed_weights(change))
    with pytest.raises(WeightsError, match=f"keys cannot be used: bn1.bias: {fault}"):
        load_encoder("resnet18", str(path))


@pytest.mark.parametrize("factor", [0, 1e-30])
def test_weights_that_see_nothing_fail_the_self_test(resnet_file, factor):
    path = resnet_file(change=changed_weights(lambda w: w * factor))
    blind = load_encoder("resnet18", str(path), precision="float32", device="cpu")
    with pytest.raises(WeightsError, match="these weights see nothing"):
        check_precision(blind, 32)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"conv1.weight": torch.nn.Linear(1, 1)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="not a file of tensors"):
        load_encoder("resnet18", str(tmp_path / "evil.pth"))


def test_weights_that_cannot_be_had_say_what_to_put_where(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"nowhere.pth: no such weight file; put it there"):
        load_encoder("resnet18", str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "inception_v3"])
def test_radimagenet_files_fit_and_bring_their_own_normalisation(tmp_path, name):
    network = torchvision_models().get_model(name, weights=None, **ARCHITECTURES[name].build_options)
    children = list(network.children())
    body = torch.nn.Sequential(*children[:-1])
    torch.save({f"backbone.{k}": v for k, v in body.state_dict().items()}, tmp_path / "w.pt")
    checkpoint = read_checkpoint(ARCHITECTURES[name], tmp_path / "w.pt")
    load_strictly(ARCHITECTURES[name].build(), ARCHITECTURES[name], checkpoint)
    assert checkpoint.description == radimagenet(name)


def test_a_card_beside_the_file_decides_over_its_keys(resnet_file):
    path = resnet_file()
    path.with_suffix(".json").write_text(
        card_text(WeightsDescription("resnet18", value_range=(-1.0, 1.0)), trained_on="phantoms")
    )
    assert load_encoder("resnet18", str(path)).description.value_range == (-1.0, 1.0)


def test_a_file_that_its_card_does_not_describe_is_refused_with_both_hashes(resnet_file):
    path = resnet_file()
    found = sha256_of_file(path)
    path.with_suffix(".json").write_text(card_text(WeightsDescription("resnet18"), sha256=found))
    assert load_encoder("resnet18", str(path)).weights_sha256 == found
    path.with_suffix(".json").write_text(card_text(WeightsDescription("resnet18"), sha256="0" * 64))
    with pytest.raises(
        WeightsError, match=f"{path.name}: damaged, .*expected SHA-256 0{{64}}, found {found}"
    ):
        load_encoder("resnet18", str(path))


@pytest.mark.parametrize(
    "card", ["[]", "{", '{"architecture": "resnet18", "sha256": 1}', '{"licence": "MIT"}']
)
def test_a_card_that_is_none_is_refused_by_its_name(resnet_file, card):
    path = resnet_file()
    path.with_suffix(".json").write_text(card)
    with pytest.raises(WeightsError, match=path.with_suffix(".json").name):
        load_encoder("resnet18", str(path))


def test_the_normalisation_is_that_of_the_description(small):
    ones = torch.ones(1, 3, 2, 2)
    torch.testing.assert_close(small.normalise(ones), ((1 - MEAN) / STD).expand_as(ones))


def test_an_unknown_encoder_is_told_the_nearest():
    with pytest.raises(ConfigError, match="nearest: 'resnet18'"):
        load_encoder("resnet_18", "random:0")


def test_random_weights_follow_from_their_seed_and_leave_torchs_own_seed_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    a, b, c = (find_checkpoint(ARCHITECTURES["squeezenet1_0"], f"random:{s}").sha256 for s in (1, 1, 2))
    assert a == b != c
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not tensors", bytes(range(256)) * 20])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name}: not a file of tensors, or damaged") as refused:
        load_encoder("resnet18", str(tmp_path / name))
    assert len(str(refused.value).splitlines()) == 1


def test_a_damaged_download_in_torchvisions_cache_is_refused_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="damaged: expected a SHA-256 that begins with b8a52dc0"):
        load_encoder("squeezenet1_1", "IMAGENET1K_V1")


def test_float16_on_a_cpu_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="CPUs emulate float16 several times more slowly"):
        load_encoder("resnet18", "random:0", precision="float16", device="cpu")


def test_float16_features_lie_within_the_tolerance_of_float32():
    encoder = replace(
        load_encoder("resnet18", "random:0", precision="float32", device="cpu"), precision="float16"
    )
    assert 0 < check_precision(encoder, 32) < TOLERANCE["float16"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of its own parts
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_gives_the_features_of_the_plain_one(images):
    plain, compiled = (
        load_encoder("squeezenet1_1", "random:0", precision="float32", device="cpu", compile_network=c)
        for c in (False, True)
    )
    assert check_precision(compiled, images.shape[-1]) < TOLERANCE["float32"]
    torch.testing.assert_close(compiled.embed(images), plain.embed(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of its own parts
def test_without_a_compiler_the_self_test_says_what_to_install():
    encoder = load_encoder(
        "squeezenet1_1", "random:0", precision="float32", device="cpu", compile_network=True
    )
    inductor = importlib.import_module("torch._inductor.config")
    # Its own patch: pytest's monkeypatch leaves the entry deleted, and torch.compile fails from then on.
    with (
        inductor.patch({"cpp.cxx": (None, "/no/such/compiler")}),
        pytest.raises(ConfigError, match=r"InvalidCxxCompiler.* install one, or set compile = false"),
    ):
        check_precision(encoder, 32)


@pytest.mark.parametrize("device", ["mps", "meta", "gpu"])
def test_a_device_that_is_none_of_ours_is_refused(device):
    with pytest.raises(ConfigError, match="expected 'auto', 'cpu' or 'cuda'"):
        load_encoder("resnet18", "random:0", device=device)
