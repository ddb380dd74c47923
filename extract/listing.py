"""The command `extract.py encoders`: the table of encoders, and what a weight file is."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from extract.architectures import ARCHITECTURES, MEDICALNET_PREFIX, PENULTIMATE, Architecture
from extract.checkpoints import (
    EMBEDDED,
    EMBEDDED_FOLDER,
    Checkpoint,
    check_fit,
    checkpoint_of_state,
    read_state,
)
from extract.config import EMBEDDED_SIZE_PX, ExtractSection, InputSection
from extract.encoder_cards import SHIPPED_CARDS, read_encoder_card
from extract.installed_weights import INSTALLED, INSTALLED_WEIGHTS
from extract.vision import torchvision_models
from extract.weights_description import CARD_SUFFIX, read_card
from pipeline.errors import WeightsError
from pipeline.provenance import sha256_of_file

_LINK = re.compile(r"`([^`]+?)\s*<(https?://\S+)>`__?")
"""A link in torchvision's texts, as title and address."""
_DEFAULT_PX, _DEFAULT_PLANES = InputSection().size_px, InputSection().slab_planes
_FOR_ALL = f"""
Features: length of the vector of the penultimate layer, the default layer. Parameters: as torchvision counts them, with the
classification head, which is left out here. Images: {_DEFAULT_PX} px by default, {EMBEDDED_SIZE_PX} px with embedded weights; weights bring
their own mean, standard deviation and value range. Slabs: {_DEFAULT_PLANES} planes by default. Weights with the name IMAGENET1K of torchvision were trained
on ImageNet-1K, IMAGENET1K_SWAG ones before that on photographs of Instagram, KINETICS400 ones on videos of what people do. Licences: torchvision's code is BSD-3-Clause; for weights without a licence here
torchvision names none, and points to the terms of the data that they were trained on. Every encoder also takes a .pth, .pt or
.safetensors file of its own keys; `extract.py encoders --verify FILE` says which encoder a file fits."""


def print_encoders(console: Console) -> None:
    """Print each encoder with its size, layers, paper and weights, and what holds for all of them."""
    cards = {read_card(path).architecture: path for path in sorted(EMBEDDED_FOLDER.glob(f"*{CARD_SUFFIX}"))}
    for architecture in ARCHITECTURES.values():
        for line in _lines_of(architecture, cards.get(architecture.name)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(_FOR_ALL, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"\nCards in {SHIPPED_CARDS} (docs/encoders.md):", markup=False, highlight=False, soft_wrap=True
    )
    for path in sorted(SHIPPED_CARDS.glob("*.toml")):
        of_door = read_encoder_card(path)
        line = f"{of_door.name}: door {of_door.door}, {of_door.network}; licence of the weights: {of_door.licence}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines_of(architecture: Architecture, card: Path | None) -> Iterator[str]:
    """Yield an encoder as lines of text; `card` is that of its embedded weights."""
    models = torchvision_models()
    name = architecture.name
    default = " (default)" if name == ExtractSection().encoder else ""
    is_torchvisions = name in models.list_models()
    offered = list(models.get_model_weights(name)) if is_torchvisions else []
    text = (models.get_model_builder(name).__doc__ or "") if is_torchvisions else ""
    counts = [weights.meta["num_params"] for weights in offered] or [_n_parameters(architecture)]
    dims = {PENULTIMATE: architecture.dim, **architecture.layers}
    layers = (f"{name} ({dim})" for name, dim in dims.items())
    of_slabs = ", 3D: sees slabs" if architecture.dims == 3 else ""
    yield f"{name}{default}: {architecture.dim} features, {min(counts) / 1e6:.1f} million parameters{of_slabs}"
    yield f"    layers: {', '.join(layers)}"
    yield f"    paper: {architecture.paper or _paper(text)}"
    if card:
        about = json.loads(card.read_text(encoding="utf-8"))
        licence = about.get("licence", "licence not stated in its card")
        yield f'    weights = "{EMBEDDED}": {card.stem}, {licence}, comes with phasemil'
    if name in INSTALLED_WEIGHTS:
        installed = INSTALLED_WEIGHTS[name]
        yield f'    weights = "{INSTALLED}": package {installed.project}, {installed.licence}, installed with phasemil'
    for weights in (one for one in offered if min(one.meta["min_size"]) <= _DEFAULT_PX):
        # Others need a network built for larger images, and do not fit this one.
        licence = f", licence {weights.meta['license']}" if "license" in weights.meta else ""
        yield f'    weights = "{weights.name}": {weights.meta["recipe"]}{licence}{_trained_on(weights, architecture)}'
    if architecture.name.startswith(MEDICALNET_PREFIX):
        yield "    weights = a .pth file of MedicalNet (keys module.*), such as resnet_18.pth; one window"


def _trained_on(weights: Any, architecture: Architecture) -> str:  # noqa: ANN401 - torchvision's own kind of enumeration
    """Say what the images of video weights were, since slabs of CT are none."""
    if architecture.dims == 2:
        return ""
    rows, columns = weights.transforms().crop_size
    return f", trained on videos of {rows} x {columns} px"


def _n_parameters(architecture: Architecture) -> int:
    """Count the parameters of a network without its head."""
    return sum(values.numel() for values in architecture.outline().parameters())


def _paper(text: str) -> str:
    """Return title and address of the paper that torchvision's text names, else of the first source that it names."""
    links = [(" ".join(title.split()), address) for title, address in _LINK.findall(text)]
    papers = [link for link in links if "arxiv.org" in link[1]] or links
    return f"{papers[0][0]}, {papers[0][1]}" if papers else "none named by torchvision"


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
        check_fit(architecture.outline(checkpoint.state), architecture, checkpoint)
    except WeightsError:
        return None  # not of this architecture; the caller tells when it is of none
    return checkpoint
