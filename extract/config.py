"""The table [extract] of a configuration: encoder, slices, masks and how a slice becomes an image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from extract.architectures import PENULTIMATE
from extract.checkpoints import FILE_SUFFIXES
from pipeline.config import ExperimentConfig, Section

Millimetres = Annotated[float, Field(gt=0)]


class InputSection(Section):
    """[extract.input]: how a slice becomes the image that the encoder sees."""

    scales_mm: Mapping[str, Millimetres] = Field({"tight": 120.0}, min_length=1)
    """Side of the square around the tumour, by name; every scale gives instances of its own."""
    window: tuple[float, Annotated[float, Field(gt=0)]] = (40.0, 400.0)
    """Level and width in HU; -160 to 240 HU, soft tissue, by default."""
    size_px: int = Field(224, ge=32, le=1024)
    """Side of the image after resizing."""


class ExtractSection(Section):
    """[extract]: which encoder embeds which slices, and on what."""

    encoder: str = "resnet18"
    """A name of the table; `extract.py encoders` lists them."""
    weights: str = "embedded"
    """`embedded`, a torchvision name, a .pth, .pt or .safetensors file, or `random:<seed>` for tests."""
    layer: str = PENULTIMATE
    """The layer whose mean over the map is the feature."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: the fastest that the device computes natively."""
    device: str = "auto"
    """`auto`: CUDA where there is one."""
    compile: bool = False
    """Let torch.compile rewrite the network; pays on long runs."""
    workers: int = Field(2, ge=1)
    """Threads that decode and prepare ahead of the encoder; any number gives the same bags."""
    batch_size: int = Field(32, ge=1)
    """Images collected before the encoder runs; any number gives the same bags."""
    input: InputSection = InputSection()

    @field_validator("weights")
    @classmethod
    def _relative_to_config(cls, weights: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        is_file = Path(weights).suffix in FILE_SUFFIXES
        return str((folder / Path(weights).expanduser()).resolve()) if is_file and folder else weights


class ExtractConfig(ExperimentConfig):
    """What stage 1 reads of a configuration."""

    extract: ExtractSection = ExtractSection()
