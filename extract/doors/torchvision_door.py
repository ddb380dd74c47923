"""The door `torchvision`: a network of the table of encoders, with weights of a local file."""

from extract.architectures import find_architecture
from extract.checkpoints import load_strictly, read_checkpoint
from extract.doors.reading import Opened, unlike
from extract.encoder_cards import EncoderCard
from extract.torchvision_maps import TorchvisionMaps
from pipeline.errors import WeightsError


def open_torchvision(card: EncoderCard) -> Opened:
    """Build the network that a card names and load its weights, every key of which must fit.

    Raises:
        ConfigError: the table has no such network, or the network no such layer.
        WeightsError: the weights do not fit.
    """
    architecture = find_architecture(card.network)
    if card.input.channels != 3:
        raise unlike(card, "3 channels for a network of torchvision", str(card.input.channels))
    network = architecture.build()
    try:
        load_strictly(network, architecture, read_checkpoint(architecture, card.file))
    except WeightsError as error:
        raise WeightsError(f"card {card.name}: {error}") from error
    maps = TorchvisionMaps(network, architecture, card.output.layers)
    return Opened(maps, maps)
