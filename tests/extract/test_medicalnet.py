"""MedicalNet's 3D ResNets: files with keys `module.*`, read strictly, scaled as its own code scales but for the noise."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from extract.architectures import ARCHITECTURES
from extract.encoders import load_encoder, scaled_by_nonzero
from extract.medicalnet import medicalnet_resnet
from pipeline.errors import WeightsError

RESNET10 = "medicalnet_resnet10"


@pytest.fixture
def file(tmp_path):
    """Write a file as MedicalNet writes it, and return its path."""

    def write(depth=10, *, is_type_a=False, change=None):
        torch.manual_seed(1)
        keys = ["conv1.weight"] if is_type_a else ["layer2.0.downsample.0.weight"]
        network = medicalnet_resnet(depth, keys)
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        state = change(state) if change else state
        torch.save({"epoch": 1, "state_dict": state}, tmp_path / "resnet.pth")
        return tmp_path / "resnet.pth"

    return write


def load(path, name=RESNET10, **more):
    return load_encoder(name, str(path), precision="float32", device="cpu", **more)


def by_hand(state: dict[str, torch.Tensor], volumes: torch.Tensor) -> torch.Tensor:
    """The forward pass of a ResNet of 10 layers out of the tensors of its file alone, shortcuts of type B or A."""

    def normed(values, name):
        own = (state[f"module.{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(values, *own)

    def convolved(values, name, **more):
        return functional.conv3d(values, state[f"module.{name}.weight"], **more)

    found = normed(convolved(volumes, "conv1", stride=2, padding=3), "bn1").relu()
    found = functional.max_pool3d(found, 3, stride=2, padding=1)
    for i, (stride, dilation) in enumerate([(1, 1), (2, 1), (1, 2), (1, 4)], start=1):
        block, shortcut = f"layer{i}.0", found
        step = convolved(found, f"{block}.conv1", stride=stride, padding=dilation, dilation=dilation)
        step = convolved(
            normed(step, f"{block}.bn1").relu(), f"{block}.conv2", padding=dilation, dilation=dilation
        )
        if f"module.{block}.downsample.0.weight" in state:
            shortcut = normed(
                convolved(found, f"{block}.downsample.0", stride=stride), f"{block}.downsample.1"
            )
        elif i > 1:
            kept = found[:, :, ::stride, ::stride, ::stride]
            shortcut = torch.cat([kept, torch.zeros_like(kept)], dim=1)
        found = (normed(step, f"{block}.bn2") + shortcut).relu()
    return found


@pytest.mark.parametrize("is_type_a", [False, True])
@torch.inference_mode()
def test_features_are_those_of_the_tensors_of_the_file(file, is_type_a):
    path = file(is_type_a=is_type_a)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert any(".downsample." in key for key in state) != is_type_a
    slabs = torch.rand(3, 1, 16, 32, 40, generator=torch.Generator().manual_seed(0))
    scaled = (slabs - slabs.mean((1, 2, 3, 4), keepdim=True)) / slabs.std(
        (1, 2, 3, 4), correction=0, keepdim=True
    )
    found = load(path).embed(slabs)
    torch.testing.assert_close(found, by_hand(state, scaled).mean((2, 3, 4)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("depth", "dim"), [(18, 512), (34, 512), (50, 2048)])
def test_deeper_ones_fit_too(file, depth, dim):
    encoder = load(file(depth), f"medicalnet_resnet{depth}", layers=["layer1", "penultimate"])
    assert encoder.readout(32, 8).blocks[-1].stop == dim + ARCHITECTURES[encoder.name].layers["layer1"]
    assert encoder.readout(32, 8).grids == ((2, 8, 8), (1, 4, 4))


def test_a_key_that_is_none_of_the_network_is_refused_and_the_head_alone_is_not(file):
    odd = torch.zeros(1)
    assert load(file(change=lambda s: {**s, "module.conv_seg.0.weight": odd})).name == RESNET10
    with pytest.raises(WeightsError, match=r"do not fit medicalnet_resnet10: 1 keys unexpected: head.weight"):
        load(file(change=lambda s: {**s, "module.head.weight": odd}))
    with pytest.raises(WeightsError, match=r"1 keys missing: layer3.0.bn1.weight"):
        load(file(change=lambda s: {k: v for k, v in s.items() if k != "module.layer3.0.bn1.weight"}))
    with pytest.raises(WeightsError, match=r"1 keys missing: layer2.0.downsample.1.weight"):
        load(file(change=lambda s: {k: v for k, v in s.items() if "2.0.downsample.1.weight" not in k}))
    with pytest.raises(WeightsError, match="do not fit medicalnet_resnet18"):
        load(file(), "medicalnet_resnet18")


def test_the_file_is_recognised(file, command):
    code, printed = command("encoders", "--verify", file(18, is_type_a=True))
    assert code == 0, printed
    assert [line.split(":")[0] for line in printed.splitlines() if line.startswith("fits")] == [
        "fits medicalnet_resnet18 (medicalnet keys)"
    ]


def test_a_slab_is_scaled_by_its_voxels_above_zero_and_its_zeros_are_not_filled():
    slab = torch.tensor([0.0, 0.0, 0.2, 0.4, 0.6]).view(1, 1, 1, 5)
    deviation = np.sqrt(((0.2**2) * 2) / 3)
    expected = (slab - 0.4) / deviation
    torch.testing.assert_close(scaled_by_nonzero(slab), expected.float())
    assert torch.equal(scaled_by_nonzero(torch.zeros(1, 1, 2, 2)), torch.zeros(1, 1, 2, 2))
    assert torch.equal(scaled_by_nonzero(torch.full((1, 1, 2, 2), 0.5)), torch.zeros(1, 1, 2, 2))


def test_the_recipe_says_how_a_slab_was_scaled_and_what_was_left_out(file):
    normalisation = load(file()).recipe({}).preprocessing["normalisation"]
    assert normalisation == {
        "scaling": "mean and deviation of the voxels above 0 of each slab",
        "zeros": "zeros are scaled like all others, not filled with noise",
    }


def test_a_card_beside_the_file_that_forgets_the_scaling_is_refused(file):
    path = file()
    path.with_suffix(".json").write_text('{"architecture": "medicalnet_resnet10"}')
    with pytest.raises(
        WeightsError, match="expected scaling = 'nonzero' for medicalnet_resnet10, found 'fixed'"
    ):
        load(path)
