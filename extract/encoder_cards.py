"""The card of an encoder: a TOML file beside the weights that says everything a slice must go through.

A wrong window, orientation or normalisation raises no error: the features are merely worse. So a card holds these as
values, and a reference input with the vector that the authors' own code gives for it, which `extract.py encoders
--verify CARD` compares with what comes out here.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from extract.architectures import PENULTIMATE
from pipeline.config import ConfigPath, Section, load_config
from pipeline.errors import WeightsError, WeightsNotFoundError
from pipeline.provenance import sha256_of_file

SHIPPED_CARDS = Path(__file__).parent / "cards"
OUR_ORIENTATION = "SPL"
"""How stage 1 holds a scan: slices towards superior, rows towards posterior, columns towards left."""
FOLDER_WEIGHTS = "model.safetensors"
"""The one file of weights in a Hugging Face folder."""

_SUFFIXES = {
    "torchvision": (".safetensors", ".pth", ".pt"),  # the last two are read as tensors only
    "timm": (".safetensors",),
    "huggingface": ("",),
    "program": (".pt2",),
}

Positive = Annotated[float, Field(gt=0)]
Door = Literal["torchvision", "timm", "huggingface", "program"]
Precision = Literal["float32", "bfloat16", "float16"]
Region = Literal["whole", "lesion", "rim", "cls"]


class FixedScaling(Section):
    """[input.scaling] with the same numbers for every slice: (value - mean) / deviation."""

    mean: tuple[float, ...] = Field(min_length=1)
    """One for all channels, or one a channel; in the units that the values have by then."""
    deviation: tuple[Positive, ...] = Field(min_length=1)
    """As many as there are means."""

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.mean) != len(self.deviation):
            raise ValueError(f"{len(self.mean)} means and {len(self.deviation)} deviations; expected as many")
        return self


class OwnScaling(Section):
    """[input.scaling] by the mean and the unbiased deviation of the values themselves."""

    per: Literal["slice", "volume"]
    """Over one slice, or over one volume; all channels together."""
    least_deviation: Positive = 1e-6
    """Values with less are centred only, as in the image processor of Curia."""


class CardInput(Section):
    """[input]: from HU to what the network is given. The steps are done in the order in which the keys stand here."""

    size: tuple[int, ...] = Field(min_length=2, max_length=3)
    """Rows and columns; of a network of volumes slices, rows and columns."""
    spacing_mm: tuple[Positive, ...] | None = None
    """Of the same axes; left out where the crop is resized to `size` whatever its spacing."""
    field_of_view: Literal["crop", "whole"] = "crop"
    """Whether the weights saw whole slices; what `scales_mm` is where the configuration does not say it."""
    orientation: str
    """Where the axes of `size` point to, such as PL: rows towards posterior, columns towards left; SPL of volumes."""
    cast: Literal["none", "int16"] = "none"
    """int16 cuts fractions of HU off, towards zero."""
    hu_clip: tuple[float, float] | None = None
    """Lower and upper limit in HU."""
    windows: tuple[tuple[float, Positive], ...] = ()
    """Level and width in HU; each gives a channel from 0 to 1. Without windows the HU themselves go on."""
    divide_by: Positive = 1.0
    """32767 for values that were stored as int16 and read as fractions."""
    resize: Literal["bilinear", "bilinear_antialias", "bicubic", "bicubic_antialias"]
    """How a crop comes to `size`; bilinear of volumes is trilinear."""
    scaling: FixedScaling | OwnScaling
    """The last change of the values."""
    channels: int = Field(3, ge=1)
    """That the network takes; a single channel is repeated."""

    @property
    def dims(self) -> int:
        """2 for slices, 3 for volumes."""
        return len(self.size)

    @model_validator(mode="after")
    def _axes_agree(self) -> Self:
        if min(self.size) < 1:
            raise ValueError(f"size: expected at least one pixel an axis, found {self.size}")
        if self.spacing_mm is not None and len(self.spacing_mm) != self.dims:
            raise ValueError(
                f"spacing_mm has {len(self.spacing_mm)} axes and size {self.dims}; expected as many"
            )
        pairs = ["SI", "AP", "LR"] if self.dims == 3 else ["AP", "LR"]
        axes = [pair for letter in self.orientation for pair in pairs if letter in pair]
        if sorted(axes) != sorted(pairs) or len(self.orientation) != self.dims:
            raise ValueError(
                f"orientation {self.orientation!r}: expected {self.dims} letters, one of each of {', '.join(pairs)}, such as "
                f"{OUR_ORIENTATION[-self.dims :]}"
            )
        return self

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        if len(self.windows) > 1 and len(self.windows) != self.channels:
            raise ValueError(
                f"{len(self.windows)} windows for {self.channels} channels; expected one, or as many"
            )
        if isinstance(self.scaling, FixedScaling) and len(self.scaling.mean) not in (1, self.channels):
            raise ValueError(
                f"{len(self.scaling.mean)} means for {self.channels} channels; expected one, or as many"
            )
        if isinstance(self.scaling, OwnScaling) and (self.scaling.per == "volume") != (self.dims == 3):
            raise ValueError(
                f"scaling.per = {self.scaling.per!r} with a size of {self.dims} axes; slices are embedded one by one"
            )
        if self.dims == 3 and self.resize != "bilinear":
            raise ValueError(f"resize {self.resize!r}: volumes are resized by 'bilinear' only")
        if self.hu_clip is not None and self.hu_clip[0] >= self.hu_clip[1]:
            raise ValueError(f"hu_clip: expected lower and upper limit, found {self.hu_clip}")
        return self


class CardOutput(Section):
    """[output]: what is read of the network."""

    dim: int = Field(ge=1)
    """Length of the vector of the last layer."""
    layers: tuple[str, ...] = Field((PENULTIMATE,), min_length=1)
    """Names of modules of the network, or `penultimate`; of a program names for its outputs, in their order."""
    regions: tuple[Region, ...] = Field(("whole",), min_length=1)
    """What is averaged: `whole`, `lesion`, `rim`, or `cls` for the class token. By these the reference is compared."""
    patch_px: int | None = Field(None, ge=1)
    """Of a program that gives tokens: side of a patch, of volumes of a cube."""
    prefix_tokens: int = Field(0, ge=0)
    """Of a program that gives tokens: tokens before those of the patches, the class token first."""
    precisions: tuple[Precision, ...] = Field(("float32",), min_length=1)
    """That were tried; others are refused, since in some networks float16 gives no numbers."""


class CardReference(Section):
    """[reference]: an input, and what the authors' own code makes of it."""

    input: ConfigPath
    """.npy of HU, (rows, columns) or (slices, rows, columns), slices towards superior, rows posterior, columns left."""
    mask: ConfigPath | None = None
    """.npy of the lesion in the same grid, above 0 inside; needed for the regions `lesion` and `rim`."""
    vector: ConfigPath
    """.npy of the vector; `--verify` shows how far ours is from it."""
    tolerance: Positive = 1e-3
    """Largest allowed distance from the vector, as a share of its length."""


class EncoderCard(Section):
    """The card of an encoder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Written into every bag."""
    door: Door
    """Which library builds the network."""
    network: str = ""
    """Its name in torchvision or timm, or the class in transformers; nothing for a program, which holds its network."""
    file: ConfigPath
    """The weights, relative to the card: a .safetensors, .pth (torchvision only) or .pt2 file, or a folder."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Of that file, or of model.safetensors in the folder. `--verify` prints it; without it no run begins."""
    source: str = ""
    """Where the weights are to be had."""
    licence: str = Field(min_length=1)
    """Of the weights, which is often not that of the code."""
    citation: str = Field(min_length=1)
    """The paper to cite."""
    traps: str = ""
    """What goes wrong without an error when it is done otherwise."""
    input: CardInput
    output: CardOutput
    reference: CardReference | None = None
    """Without one nothing proves that the card is right; `--verify` says so."""

    @model_validator(mode="after")
    def _door_and_network_agree(self) -> Self:
        if (self.door == "program") == bool(self.network):
            raise ValueError(
                f"network: door {self.door!r} expects "
                + ("none, the program holds it" if self.network else "the name of one")
            )
        if self.input.dims == 3 and self.door not in ("program", "torchvision"):
            raise ValueError(
                f"size {self.input.size}: volumes come in by the doors 'program' and 'torchvision' only"
            )
        return self

    @model_validator(mode="after")
    def _file_is_of_the_door(self) -> Self:
        allowed = _SUFFIXES[self.door]
        if self.file.suffix not in allowed:
            kinds = " or ".join(allowed) or "folder"
            raise ValueError(
                f"file {self.file.name!r}: door {self.door!r} expects a {kinds}; a pickle is refused, since reading one runs "
                "what stands in it: write its tensors as safetensors on the machine it came to"
            )
        return self

    @property
    def weights_path(self) -> Path:
        """The file that holds the weights."""
        return self.file / FOLDER_WEIGHTS if self.door == "huggingface" else self.file


def read_encoder_card(path: Path) -> EncoderCard:
    """Read a card.

    Raises:
        ConfigError: it is missing, no TOML, or has an unknown key or a value that is not allowed.
    """
    return load_config(path, EncoderCard)


def check_weights(card: EncoderCard, path: Path) -> str:
    """Return the SHA-256 of the weights, which are those that the card states.

    Args:
        card: the card.
        path: where it lies, for messages.

    Raises:
        WeightsNotFoundError: they are not there.
        WeightsError: they have another hash, or the card states none.
    """
    weights = card.weights_path
    if not weights.is_file():
        where = f"; get it from {card.source}" if card.source else ""
        raise WeightsNotFoundError(f"card {path}: {weights}: expected the weights, found no such file{where}")
    found = sha256_of_file(weights)
    if card.sha256 is None:
        raise WeightsError(
            f"card {path}: {weights}: expected its sha256 in the card, found none; compare {found} with what the source "
            "states, and write it there"
        )
    if found != card.sha256:
        raise WeightsError(
            f"card {path}: {weights}: expected SHA-256 {card.sha256}, found {found}; put the file of the card there, or "
            "use the card of this file"
        )
    return found
