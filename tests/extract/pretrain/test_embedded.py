"""The encoder that is shipped with the package."""

import json

import pytest
import torch

from extract.checkpoints import EMBEDDED_FOLDER
from extract.config import ExtractSection
from extract.encoders import load_encoder
from pipeline.provenance import sha256_of_file

CARDS = sorted(EMBEDDED_FOLDER.glob("*.json"))


def test_the_default_encoder_is_embedded_and_trained():
    section = ExtractSection()
    encoder = load_encoder(section.encoder, section.weights, device="cpu")
    assert section.weights == "embedded"
    assert not encoder.recipe({}).has_random_weights


def test_one_encoder_is_shipped():
    assert len(CARDS) == 1


def test_images_have_the_size_that_the_embedded_encoder_was_trained_on_unless_told_otherwise():
    trained_at = json.loads(CARDS[0].read_text())["trained_at_px"][-1]
    assert ExtractSection().input.size_px == trained_at == 112
    assert ExtractSection(input={"scales_mm": {"wide": 200.0}}).input.size_px == trained_at
    assert ExtractSection(input={"size_px": 224}).input.size_px == 224
    assert ExtractSection(weights="IMAGENET1K_V1").input.size_px == 224


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_the_card_fits_the_file(path):
    card = json.loads(path.read_text())
    weights = path.with_name(card["file"])
    assert weights.stem == path.stem
    assert card["sha256"] == sha256_of_file(weights)
    assert card["licence"] == "Apache-2.0"
    assert weights.stat().st_size < 25e6
    assert load_encoder(card["architecture"], "embedded").weights_sha256 == card["sha256"]


def test_images_that_differ_have_features_that_differ():
    encoder = load_encoder("squeezenet1_1", "embedded", precision="float32", device="cpu")
    line = torch.linspace(0, 1, 64)
    stripes = (torch.sin(line * 60) * 0.5 + 0.5).expand(64, 64)
    images = torch.stack([stripes, stripes.T, line.expand(64, 64)])[:, None].expand(-1, 3, -1, -1)
    features = torch.nn.functional.normalize(encoder.embed(images))
    likeness = features @ features.T
    assert features.isfinite().all()
    assert likeness[~torch.eye(3, dtype=torch.bool)].max() < 0.99
