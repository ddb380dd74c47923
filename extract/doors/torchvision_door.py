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
    if card.input.channels != architecture.channels:
        raise unlike(
            card, f"{architecture.channels} channels for {architecture.name}", str(card.input.channels)
        )
    if card.input.dims != architecture.dims:
        raise unlike(
            card, f"a size of {architecture.dims} axes for {architecture.name}", f"{card.input.size}"
        )
    try:
        checkpoint = read_checkpoint(architecture, card.file)
        network = architecture.build(checkpoint.state)
        load_strictly(network, architecture, checkpoint)
    except WeightsError as error:
        raise WeightsError(f"card {card.name}: {error}") from error
    maps = TorchvisionMaps(network, architecture, card.output.layers)
    return Opened(maps, maps)
