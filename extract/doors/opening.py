"""The network of a card comes in through its door, and is tried."""

import torch

from extract.card_input import to_our_axes
from extract.doors.hugging_face_door import open_folder
from extract.doors.program_door import open_program
from extract.doors.reading import CardNetwork, unlike
from extract.doors.timm_door import open_timm
from extract.doors.torchvision_door import open_torchvision
from extract.encoder_cards import EncoderCard
from extract.feature_maps import FeatureMap
from extract.region_pooling import check_regions
from pipeline.errors import PhasemilError

_DOORS = {
    "torchvision": open_torchvision,
    "timm": open_timm,
    "huggingface": open_folder,
}


def open_network(card: EncoderCard, device: torch.device | str = "cpu") -> CardNetwork:
    """Build the network of a card whose weights were checked on a device, and try it on zeros.

    Raises:
        ConfigError: its library is not installed, or it cannot give a region of the card.
        WeightsError: weights, network and card do not fit each other.
    """
    if card.door == "program":  # it is in the mode in which it was written, and names devices inside
        network = CardNetwork(card, open_program(card, device))
    else:
        network = CardNetwork(card, _DOORS[card.door](card)).eval().to(device)
    network.requires_grad_(requires_grad=False)
    _check_maps(card, _tried(card, network, device))
    return network


@torch.inference_mode()
def _tried(card: EncoderCard, network: CardNetwork, device: torch.device | str) -> tuple[FeatureMap, ...]:
    size = to_our_axes(card.input.size, card.input.orientation)
    try:
        maps: tuple[FeatureMap, ...] = network(torch.zeros(1, card.input.channels, *size, device=device))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        if isinstance(error, PhasemilError):
            raise
        expected = f"a network of {card.input.channels} channels of {card.input.size}"
        raise unlike(card, expected, " ".join(str(error).split())[:300]) from error
    return maps


def _check_maps(card: EncoderCard, maps: tuple[FeatureMap, ...]) -> None:
    last = maps[-1]
    dim = last.values.shape[-1 if last.grid is not None else 1]
    if dim != card.output.dim:
        raise unlike(card, f"{card.output.dim} numbers of layer {last.layer} (output.dim)", str(dim))
    check_regions(maps, card.output.regions, card.name)
