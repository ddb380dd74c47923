"""Frozen weights: found, identified by their hash, loaded strictly or not at all."""

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from extract import efficientnet_lite
from extract.architectures import Architecture
from extract.installed_weights import INSTALLED, INSTALLED_WEIGHTS
from extract.vision import torchvision_models
from extract.weight_values import unusable_keys
from extract.weights_description import (
    CARD_SUFFIX,
    WeightsDescription,
    radimagenet,
    read_card,
    stated_sha256,
)
from pipeline.bags import RANDOM_PREFIX
from pipeline.errors import WeightsError, WeightsNotFoundError
from pipeline.provenance import sha256_of_file

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "weights"
FILE_SUFFIXES = (".pth", ".pt", ".safetensors")
_DAMAGED = (
    pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError,
    AttributeError, TypeError, OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What readers raise on bytes that are no tensors; unpickling rubbish raises nearly anything."""

_OLD_DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\..*)$")
_WRAPPERS = ("module.", "model.", "_orig_mod.")
_RADIMAGENET_KEY = re.compile(r"^backbone\.\d+\.")
_INCEPTION_STEM = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "maxpool1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
)
_INCEPTION_BLOCKS = tuple(
    f"Mixed_{block}" for block in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
)
_RADIMAGENET_CHILDREN: Mapping[str, tuple[str, ...]] = {
    "resnet50": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "densenet121": ("features",),
    "inception_v3": (*_INCEPTION_STEM, "maxpool2", *_INCEPTION_BLOCKS),
}
"""What `nn.Sequential(*list(network.children())[:-1])` calls 0, 1, 2, ..."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights in torchvision's spelling, without the head.

    Attributes:
        name: how the configuration names them; a file by its name, without the folder.
        sha256: of the file, or of the tensors where there is no file.
        description: what they are and how they want their images.
        state: torchvision key -> tensor.
    """

    name: str
    sha256: str
    description: WeightsDescription
    state: Mapping[str, Tensor]


def find_checkpoint(architecture: Architecture, weights: str) -> Checkpoint:
    """Find the weights that a configuration names for an architecture.

    Args:
        architecture: the network they are for.
        weights: `embedded`, `installed`, `random:<seed>`, the path of a .pth, .pt or .safetensors file, or a torchvision
            name such as `IMAGENET1K_V1`.

    Raises:
        WeightsNotFoundError: they are neither on disk nor obtainable; what to put where is said.
        WeightsError: the file is unreadable, or its card says that it belongs to another architecture.
    """
    if weights.startswith(RANDOM_PREFIX):
        return _random(architecture, weights)
    if weights == EMBEDDED:
        return _embedded(architecture)
    if weights == INSTALLED:
        return _installed(architecture)
    if Path(weights).suffix in FILE_SUFFIXES:
        return read_checkpoint(architecture, Path(weights))
    return _from_torchvision(architecture, weights)


def load_strictly(network: nn.Module, architecture: Architecture, checkpoint: Checkpoint) -> None:
    """Load weights into a network without its head; every key must fit.

    Raises:
        WeightsError: a key is missing or unexpected, or a shape differs; the keys are listed.
    """
    given = check_fit(network, architecture, checkpoint)
    network.load_state_dict({**network.state_dict(), **given}, strict=True)


def check_fit(network: nn.Module, architecture: Architecture, checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """Return the weights without those of the head, every key of which fits a network without its head.

    Raises:
        WeightsError: a key is missing or unexpected, or a shape differs, the keys being listed; or a weight is of another kind of
            number, or not finite.
    """
    own = network.state_dict()
    given = {k: v for k, v in checkpoint.state.items() if not k.startswith(f"{architecture.head}.")}
    # torch fills a missing counter of batch norms in by itself; it is no weight.
    missing = sorted(k for k in own.keys() - given.keys() if not k.endswith("num_batches_tracked"))
    unexpected = sorted(given.keys() - own.keys())
    reshaped = sorted(k for k in own.keys() & given.keys() if own[k].shape != given[k].shape)
    faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    if missing or unexpected or reshaped:
        found = "; ".join(f"{len(keys)} keys {what}: {some(keys)}" for what, keys in faults if keys)
        raise WeightsError(f"weights {checkpoint.name} do not fit {architecture.name}: {found}")
    unusable = unusable_keys(own, given)
    if unusable:
        key = min(unusable)
        raise WeightsError(
            f"weights {checkpoint.name} do not fit {architecture.name}: {len(unusable)} keys cannot be used: {key}: {unusable[key]}"
        )
    return given


def read_checkpoint(architecture: Architecture, path: Path) -> Checkpoint:
    """Read a weight file; a JSON card of the same name beside it says what it is, else its keys do.

    Raises:
        WeightsNotFoundError: there is no such file.
        WeightsError: it is not a file of tensors, or belongs to another architecture.
    """
    return checkpoint_of_state(architecture, path, read_state(path))


def checkpoint_of_state(architecture: Architecture, path: Path, state: Mapping[str, Tensor]) -> Checkpoint:
    """Describe tensors that were read from a weight file, as weights of an architecture.

    Raises:
        WeightsError: the card beside the file says that it belongs to another architecture.
    """
    card = path.with_suffix(CARD_SUFFIX)
    description = read_card(card) if card.exists() else describe_keys(architecture, state)
    if description.architecture != architecture.name:
        raise WeightsError(f"{path}: weights of {description.architecture}, offered for {architecture.name}")
    if description.scaling != architecture.description.scaling:
        raise WeightsError(
            f"{card}: expected scaling = {architecture.description.scaling!r} for {architecture.name}, found "
            f"{description.scaling!r}; write it there"
        )
    renamed = {torchvision_key(description, key): value for key, value in state.items()}
    return Checkpoint(path.name, sha256_of_file(path), description, renamed)


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a weight file, without a leading `module.` or `model.`; nothing in it is executed.

    Raises:
        WeightsNotFoundError: there is no such file.
        WeightsError: it is not a file of tensors, or not the one that the card beside it describes.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"{path}: no such weight file; put it there or correct [extract] weights")
    _check_hash_in_card(path)
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except _DAMAGED as error:
        raise WeightsError(
            f"{path}: not a file of tensors, or damaged; expected a state_dict written by torch.save or safetensors"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(
            f"{path}: expected a state_dict (names and tensors), found {type(loaded).__name__}"
        )
    return _without_wrapper(loaded)


def describe_keys(architecture: Architecture, state: Mapping[str, Tensor]) -> WeightsDescription:
    """Say from the spelling of its keys what a file without a card is: RadImageNet's, EfficientNet-Lite's, the network's own."""
    if state and all(_RADIMAGENET_KEY.match(key) for key in state):
        return radimagenet(architecture.name)
    if "_blocks.0._depthwise_conv.weight" in state:
        return replace(efficientnet_lite.description(), architecture=architecture.name)
    return architecture.description


def torchvision_key(description: WeightsDescription, key: str) -> str:
    """Return torchvision's present spelling of a key of a weight file."""
    if description.key_map == "radimagenet" and description.architecture in _RADIMAGENET_CHILDREN:
        children = _RADIMAGENET_CHILDREN[description.architecture]
        _, index, rest = key.split(".", 2)
        key = f"{children[int(index)]}.{rest}" if int(index) < len(children) else key
    if description.key_map == efficientnet_lite.KEY_MAP:
        return efficientnet_lite.torchvision_key(key)
    old = _OLD_DENSENET_KEY.match(key)
    return old[1] + old[2] if old else key


def _unpickled(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def _without_wrapper(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for prefix in _WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            return _without_wrapper({key.removeprefix(prefix): value for key, value in state.items()})
    return state


def _random(architecture: Architecture, weights: str) -> Checkpoint:
    seed = weights.removeprefix(RANDOM_PREFIX)
    if not seed.isdecimal():
        raise WeightsError(f"weights {weights!r}: expected a whole number after {RANDOM_PREFIX!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        state = architecture.build().state_dict()
    digest = sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return Checkpoint(weights, digest.hexdigest(), architecture.description, state)


def _embedded(architecture: Architecture) -> Checkpoint:
    for card in sorted(EMBEDDED_FOLDER.glob(f"*{CARD_SUFFIX}")):
        path = card.with_suffix(".safetensors")
        if path.exists() and read_card(card).architecture == architecture.name:
            return read_checkpoint(architecture, path)
    raise WeightsNotFoundError(
        f"no embedded weights for {architecture.name} in {EMBEDDED_FOLDER}; "
        "put NAME.safetensors and its card NAME.json there, or name a weight file under [extract] weights"
    )


def _installed(architecture: Architecture) -> Checkpoint:
    if architecture.name not in INSTALLED_WEIGHTS:
        known = ", ".join(INSTALLED_WEIGHTS)
        raise WeightsNotFoundError(
            f"weights {INSTALLED!r}: there are none for {architecture.name}, only for {known}; choose that encoder, or "
            "name a weight file under [extract] weights"
        )
    return read_checkpoint(architecture, INSTALLED_WEIGHTS[architecture.name].find())


def _from_torchvision(architecture: Architecture, weights: str) -> Checkpoint:
    family = torchvision_models().get_model_weights(architecture.name)
    name = weights.rpartition(".")[2]
    if name not in family.__members__:
        known = ", ".join(family.__members__)
        raise WeightsError(
            f"weights {weights!r} of {architecture.name}: expected a file ending in {', '.join(FILE_SUFFIXES)}, "
            f"'{EMBEDDED}', '{INSTALLED}', '{RANDOM_PREFIX}<seed>' or one of {known}"
        )
    entry = family[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if path.exists():
        _check_hash_in_name(path)
    try:
        state = entry.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        raise WeightsError(f"weights {weights} of {architecture.name} from {entry.url}: {error}") from error
    except (URLError, OSError) as error:
        raise WeightsNotFoundError(
            f"weights {weights} of {architecture.name} are not on this machine and {entry.url} cannot be "
            f"reached ({error}); put that file at {path}"
        ) from error
    transforms = entry.transforms()
    description = WeightsDescription(
        architecture.name, mean=tuple(transforms.mean), std=tuple(transforms.std)
    )
    renamed = {torchvision_key(description, key): value for key, value in state.items()}
    return Checkpoint(name, sha256_of_file(path), description, renamed)


def _check_hash_in_card(path: Path) -> None:
    """Refuse a file that its card does not describe; a card without a SHA-256 describes any."""
    card = path.with_suffix(CARD_SUFFIX)
    expected = stated_sha256(card) if card.exists() else None
    if expected is not None and (found := sha256_of_file(path)) != expected:
        raise WeightsError(
            f"{path}: damaged, or not the file that {card.name} describes: expected SHA-256 {expected}, found "
            f"{found}; put the right file there, or its own card beside it"
        )


def _check_hash_in_name(path: Path) -> None:
    """Refuse a cached file that does not have the hash in its name; torchvision checks downloads only."""
    expected = path.stem.rpartition("-")[2]
    found = sha256_of_file(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path}: damaged: expected a SHA-256 that begins with {expected}, found {found[:12]}; delete the file or "
            "put the right one there"
        )


def some(keys: list[str], limit: int = 8) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
