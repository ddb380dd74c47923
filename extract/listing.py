"""The command `extract.py encoders`: the table of encoders, and what a weight file is."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import Tensor

from extract.architectures import ARCHITECTURES, PENULTIMATE, Architecture
from extract.checkpoints import (
    EMBEDDED,
    EMBEDDED_FOLDER,
    Checkpoint,
    checkpoint_of_state,
    load_strictly,
    read_state,
)
from extract.encoder_cards import SHIPPED_CARDS, read_encoder_card
from extract.installed_weights import INSTALLED, INSTALLED_WEIGHTS
from extract.weights_description import CARD_SUFFIX, read_card
from pipeline.errors import WeightsError
from pipeline.provenance import sha256_of_file


def print_encoders(console: Console) -> None:
    """Print the encoders with their dimension, layers, and the weights that are at hand."""
    embedded = {read_card(card).architecture for card in EMBEDDED_FOLDER.glob(f"*{CARD_SUFFIX}")}
    table = Table("encoder", "dim", "layers (dim)", "weights at hand", title="Encoders")
    for row in ARCHITECTURES.values():
        layers = ", ".join(f"{name} ({dim})" for name, dim in row.layers.items())
        at_hand = [EMBEDDED] * (row.name in embedded) + [INSTALLED] * (row.name in INSTALLED_WEIGHTS)
        table.add_row(row.name, str(row.dim), layers or PENULTIMATE, ", ".join(at_hand))
    console.print(table)
    cards = Table(
        "card", "door", "licence of the weights", title=f"Cards in {SHIPPED_CARDS} (docs/encoders.md)"
    )
    for card in map(read_encoder_card, sorted(SHIPPED_CARDS.glob("*.toml"))):
        cards.add_row(card.name, f"{card.door} {card.network}", card.licence)
    console.print(cards)


def verify_file(path: Path, console: Console) -> None:
    """Say what a weight file is, its SHA-256, and which encoders it fits.

    Raises:
        WeightsError: it is no file of tensors, or fits no encoder of the table.
    """
    state = read_state(path)
    n_values = sum(value.numel() for value in state.values())
    lines = [
        f"{path}: {len(state)} tensors, {n_values:,} numbers",
        f"sha256 {sha256_of_file(path)}",
        f"first keys: {', '.join(list(state)[:4])}",
    ]
    fitting = list(_fitting(path, state))
    for checkpoint in fitting:
        about = checkpoint.description
        lines.append(
            f"fits {about.architecture} ({about.key_map} keys): mean {about.mean}, std {about.std}, values "
            f"{about.value_range}, {about.channel_order}"
        )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    if not fitting:
        raise WeightsError(f"{path}: fits none of {', '.join(ARCHITECTURES)}")


def _fitting(path: Path, state: Mapping[str, Tensor]) -> Iterator[Checkpoint]:
    for architecture in ARCHITECTURES.values():
        checkpoint = _as_weights_of(architecture, path, state)
        if checkpoint is not None:
            yield checkpoint


def _as_weights_of(architecture: Architecture, path: Path, state: Mapping[str, Tensor]) -> Checkpoint | None:
    try:
        checkpoint = checkpoint_of_state(architecture, path, state)
        load_strictly(architecture.build(), architecture, checkpoint)
    except WeightsError:
        return None  # not of this architecture; the caller tells when it is of none
    return checkpoint
