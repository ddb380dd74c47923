"""The configuration of a pretraining run."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pipeline.config import ConfigPath, Section


class PoolSettings(Section):
    """[pool]: the training images on disk, replaced little by little during training."""

    folder: ConfigPath
    """Folder of the pool; it can be deleted at any time and is then generated again."""
    images: int = Field(6400, ge=16)
    """Number of images in the pool at any one time."""
    size: int = Field(128, ge=16)
    """Side of an image in pixels."""
    redraw_every: int = Field(1, ge=0)
    """Steps after which the next 16 images are replaced; 0: never."""
    formulas: Mapping[str, int] = {
        "fractal": 70, "noise": 50, "gratings": 45, "sparse": 40, "mosaic": 45,
        "leaves": 45, "blobs": 55, "strokes": 25, "networks": 25,
    }  # fmt: skip
    """Number of formulas (classes of images) of each family."""


class ViewSettings(Section):
    """[views]: how an image of the pool becomes an input of the network."""

    size: int = Field(112, ge=16)
    """Side of an input in pixels in the last part of training; recorded in the card, and the default image side of
    stage 1."""
    first_size: int = Field(80, ge=16)
    """Side of an input in pixels before that; smaller is faster."""
    final_share: float = Field(0.5, ge=0, le=1)
    """Share of the steps, the last ones, with inputs of `size`."""
    mixed: float = Field(0.2, ge=0, le=1)
    """Share of images in which a part is replaced by an image of another formula."""


class ObjectiveSettings(Section):
    """[objective]: weights of the terms of the loss."""

    descriptors: float = Field(1.0, ge=0)
    """Squared error of predicted descriptors of the noise-free view: thumbnail, edges, texture, histogram, surround."""
    factors: float = Field(0.5, ge=0)
    """Squared error of the predicted augmentation: zoom, rotation, brightness, contrast, noise, blur, enlargement."""
    formula: float = Field(1.0, ge=0)
    """Cross-entropy of the classification of the formula that drew the image."""
    instance: float = Field(0.0, ge=0)
    """InfoNCE: two views of one image against the views of all other images of the batch; 0: one view per image, half the
    time."""
    temperature: float = Field(0.2, gt=0)
    """Temperature of InfoNCE."""


class PretrainConfig(Section):
    """The configuration of a pretraining run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the encoder and stem of its files `<name>.safetensors` and `<name>.json`."""
    output: ConfigPath
    """Folder of these files and of the checkpoint."""
    architecture: str
    """Name of the network; `extract.py encoders` lists them."""
    begin_from: ConfigPath | None = None
    """Weight file of the same architecture to start from, such as an earlier version; by default random weights."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the forward pass; `auto`: bfloat16 where the device computes it natively, else float32."""
    steps: int = Field(ge=1)
    """Training steps, over all resumed runs together; learning rate and size of the inputs follow this schedule."""
    batch: int = Field(64, ge=2)
    """Images per step; each gives one view, or two if `objective.instance` is above 0."""
    learning_rate: float = Field(1.5e-3, gt=0)
    """Highest learning rate of AdamW, reached after 3 % of the steps."""
    weight_decay: float = Field(0.05, ge=0)
    """Weight decay of AdamW."""
    average: float = Field(0.998, ge=0, lt=1)
    """Decay per step of the exponential moving average of the weights; the averaged weights are written."""
    seed: int = Field(2026, ge=0)
    """Seed of formulas, images, views and initial weights."""
    threads: int | None = Field(None, ge=1)
    """Threads of the training on a CPU; by default those of torch."""
    checkpoint_steps: int = Field(200, ge=1)
    """Steps between checkpoints."""
    pool: PoolSettings
    views: ViewSettings = ViewSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
