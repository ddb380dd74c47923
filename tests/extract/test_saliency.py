"""Occlusion maps: they light up where the picture decides the features."""

import numpy as np
import pytest
import torch

from extract.encoders import load_encoder
from extract.saliency import Saliency, occlusion_map

pytest.importorskip("captum", reason="captum is an optional dependency")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("squeezenet1_1", "random:0", precision="float32", device="cpu")


def test_hiding_the_only_object_turns_the_features_most(encoder):
    image = torch.zeros(3, 96, 96)
    image[:, 10:34, 60:84] = 1.0
    found = occlusion_map(encoder, image)
    assert found.shape == (96, 96)
    inside = found[10:34, 60:84].mean()
    assert inside > 3 * np.abs(found[60:, :40]).mean()


def test_an_empty_picture_has_an_empty_map(encoder):
    assert np.abs(occlusion_map(encoder, torch.full((3, 64, 64), 0.5))).max() < 1e-5


def test_two_networks_that_look_alike_agree():
    heat = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    assert Saliency("x", heat, heat, heat).agreement == pytest.approx(1)
    assert Saliency("x", heat, heat, -heat).agreement == pytest.approx(-1)


def test_one_channel_stands_for_three_equal_ones(encoder):
    """One window makes images of one channel: what `extract.py run` embeds, and what the maps must take."""
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        occlusion_map(encoder, image), occlusion_map(encoder, image.expand(3, -1, -1)), atol=1e-6
    )
