"""What a set of weights is and how it wants its images: one object, so that no user has to remember it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.errors import WeightsError

KEY_MAPS = ("torchvision", "radimagenet", "efficientnet_lite", "medicalnet")
CHANNEL_ORDERS = ("RGB", "BGR")
FIXED, NONZERO = "fixed", "nonzero"
SCALINGS = (FIXED, NONZERO)
CARD_SUFFIX = ".json"
_NOT_FILLED = "zeros are scaled like all others, not filled with noise"
"""What is done otherwise than in MedicalNet's own code, whose noise would make the features of a slab a matter of chance."""


@dataclass(frozen=True)
class WeightsDescription:
    """The architecture that weights belong to, the spelling of their keys, and the images they were trained on.

    Attributes:
        architecture: name in the table of encoders.
        key_map: `torchvision`; `radimagenet` for the official `backbone.<N>` Sequential files; `efficientnet_lite` for
            `_blocks.<N>` as EfficientNet-PyTorch writes them; `medicalnet` for the files of MedicalNet.
        mean: per channel, in units of value_range.
        std: per channel, in units of value_range.
        value_range: what black and white became before mean and std were applied.
        channel_order: order of the three channels; it matters where they hold different windows or planes.
        scaling: `fixed`, by mean and std; `nonzero`, each slab by the mean and deviation of its own voxels above 0, as MedicalNet
            scales, with mean, std, value_range and channel_order unused.

    Raises:
        WeightsError: a value is not one of those allowed.
    """

    architecture: str
    key_map: str = "torchvision"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    value_range: tuple[float, float] = (0.0, 1.0)
    channel_order: str = "RGB"
    scaling: str = FIXED

    def __post_init__(self) -> None:
        if self.key_map not in KEY_MAPS:
            raise WeightsError(f"key map {self.key_map!r}; expected one of {', '.join(KEY_MAPS)}")
        if self.channel_order not in CHANNEL_ORDERS:
            raise WeightsError(
                f"channel order {self.channel_order!r}; expected one of {', '.join(CHANNEL_ORDERS)}"
            )
        if self.scaling not in SCALINGS:
            raise WeightsError(f"scaling {self.scaling!r}; expected one of {', '.join(SCALINGS)}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise WeightsError(f"expected 3 means and 3 positive stds, found {self.mean} and {self.std}")

    @property
    def normalisation(self) -> Mapping[str, Any]:
        """The part that changes pixels, as plain JSON values for a bag's preprocessing."""
        if self.scaling == NONZERO:
            return {"scaling": "mean and deviation of the voxels above 0 of each slab", "zeros": _NOT_FILLED}
        names = ("mean", "std", "value_range", "channel_order")
        plain = {name: getattr(self, name) for name in names}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}


def radimagenet(architecture: str) -> WeightsDescription:
    """Describe the official RadImageNet files: (x - 127.5) * 2 / 255, that is [-1, 1], by their own notebook."""
    return WeightsDescription(
        architecture, "radimagenet", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), value_range=(-1.0, 1.0)
    )


def read_card(path: Path) -> WeightsDescription:
    """Read the JSON card beside a weight file; keys that are not part of the description are ignored.

    Raises:
        WeightsError: the card is no JSON object, or lacks `architecture`.
    """
    card = _values(path)
    try:
        known: dict[str, Any] = {
            f.name: _frozen(card[f.name]) for f in fields(WeightsDescription) if f.name in card
        }
        return WeightsDescription(**known)
    except TypeError as error:
        raise WeightsError(f"{path}: not a weights card: {error}; expected at least architecture") from error


def stated_sha256(path: Path) -> str | None:
    """Return the SHA-256 that a card states of its weight file; None where it states none.

    Raises:
        WeightsError: the card is no JSON object, or what it states is no text.
    """
    stated = _values(path).get("sha256")
    if stated is not None and not isinstance(stated, str):
        raise WeightsError(f"{path}: expected sha256 as text, found {stated!r}")
    return stated


def _values(path: Path) -> Mapping[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path}: not a weights card: {error}; expected at least architecture") from error
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: not a weights card: expected a JSON object, found {type(card).__name__}")
    return card


def card_text(description: WeightsDescription, **more: object) -> str:
    """Write a card, with whatever else is worth saying about the weights."""
    return json.dumps({**asdict(description), **more}, indent=2, sort_keys=True) + "\n"


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
