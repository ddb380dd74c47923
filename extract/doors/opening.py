"""A card is read, its weights are checked, and its network comes in through its door."""

from extract.doors.hugging_face_door import open_folder
from extract.doors.program_door import open_program
from extract.doors.reading import CardNetwork
from extract.doors.timm_door import open_timm
from extract.doors.torchvision_door import open_torchvision
from extract.encoder_cards import EncoderCard

_DOORS = {
    "torchvision": open_torchvision,
    "timm": open_timm,
    "huggingface": open_folder,
    "program": open_program,
}


def open_network(card: EncoderCard) -> CardNetwork:
    """Build the network of a card whose weights were checked, and try it on zeros.

    Raises:
        ConfigError: its library is not installed.
        WeightsError: weights, network and card do not fit each other.
    """
    network = CardNetwork(card, _DOORS[card.door](card))
    if card.door != "program":  # an exported program is in the mode in which it was written
        network.eval()
    network.requires_grad_(requires_grad=False)
    return network
