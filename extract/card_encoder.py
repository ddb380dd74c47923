"""An encoder that a card describes, in the place of one of the table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from extract.card_verification import check_reference
from extract.config import ExtractSection
from extract.doors.opening import open_network
from extract.encoder_cards import CardInput, EncoderCard, check_weights, read_encoder_card
from extract.encoders import Encoder, choose_device, choose_precision, load_encoder
from extract.weights_description import WeightsDescription
from pipeline.bags import Recipe
from pipeline.errors import ConfigError
from pipeline.provenance import sha256_of_file


@dataclass(frozen=True, eq=False, kw_only=True)
class CardEncoder(Encoder):
    """A network of a card; its images are made by `extract.card_input` and not changed any more.

    Attributes:
        card: of the network.
    """

    card: EncoderCard

    @property
    def card_input(self) -> CardInput:
        """How crops become what the network is given."""
        return self.card.input

    def normalise(self, images: Tensor) -> Tensor:
        """Bring images to the device, channels last; one channel stands for all."""
        n_channels = self.card.input.channels
        if images.shape[1] != n_channels:
            images = images[:, :1].expand(-1, n_channels, *images.shape[2:])
        return self._channels_last(images.to(self.device, torch.float32, non_blocking=True))

    def recipe(self, preprocessing: Mapping[str, Any]) -> Recipe:
        """Return what a bag must say about features of this encoder: the steps of the card for those of [extract.input]."""
        given = preprocessing["input"]
        ours = {
            **preprocessing,
            "input": {key: given[key] for key in ("scales_mm", "outside_mask_hu")},
            "card": self.card.model_dump(mode="json", include={"door", "network", "input", "output"}),
        }
        if self.card.door == "huggingface":
            ours["config_sha256"] = sha256_of_file(self.card.file / "config.json")
        recipe = super().recipe(ours)
        return replace(recipe, preprocessing=ours)


def encoder_of(section: ExtractSection) -> Encoder:
    """Load the encoder that a configuration names, by its card or in the table.

    Raises:
        ConfigError: name, layer, precision or device does not exist, or the card cannot be read.
        WeightsNotFoundError: the weights are neither on disk nor obtainable.
        WeightsError: the weights do not fit.
    """
    if section.card is not None:
        return _encoder_of_card(section, read_encoder_card(section.card))
    return load_encoder(
        section.encoder,
        section.weights,
        layers=section.layers_read,
        regions=section.regions_read,
        precision=section.precision,
        device=section.device,
        compile_network=section.compile,
    )


def _encoder_of_card(section: ExtractSection, card: EncoderCard) -> CardEncoder:
    place = choose_device(section.device)
    precision = allowed_precision(card, section.precision, place)
    path = section.card or card.file
    sha256 = check_weights(card, path)
    network = open_network(card, place)
    if card.reference is not None:
        check_reference(card, card.reference, network, path, place=place)
    if section.compile:
        network.compile(dynamic=False)
    return CardEncoder(
        name=card.name,
        layers=card.output.layers,
        regions=section.regions_read,
        description=WeightsDescription(card.name),
        weights_name=card.weights_path.name,
        weights_sha256=sha256,
        precision=precision,
        device=place,
        network=network,
        is_compiled=section.compile,
        dims=card.input.dims,
        card=card,
    )


def doubt(encoder: Encoder) -> str | None:
    """Return what must be said of an encoder before a run: that nothing proves its card; None for any other."""
    if not isinstance(encoder, CardEncoder) or encoder.card.reference is not None:
        return None
    return f"card {encoder.card.name} has no [reference]: nothing proves its window, orientation and scaling (docs/encoders.md)"


def allowed_precision(card: EncoderCard, precision: str, device: torch.device) -> str:
    """Return the precision of that name, or for `auto` the fastest that the device has and the card allows.

    Raises:
        ConfigError: the card does not allow it, or the device does not have it.
    """
    chosen = choose_precision(precision, device)
    if chosen in card.output.precisions:
        return chosen
    if precision == "auto":
        lower = [name for name in card.output.precisions if name != "float16" or device.type != "cpu"]
        if device.type == "cuda" and "bfloat16" in lower:
            return "bfloat16"
        if "float32" in lower:
            return "float32"
    raise ConfigError(
        f"card {card.name}: [extract] precision: expected one of {', '.join(card.output.precisions)}, which the card allows, "
        f"found {precision!r}; set one of them"
    )
