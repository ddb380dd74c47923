"""The configuration of a pretraining run."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pipeline.config import ConfigPath, Section


class PoolSettings(Section):
    """[pool]: the images on disk from which training draws, redrawn while it runs."""

    folder: ConfigPath
    """Folder of the pool; it can be deleted and is drawn again."""
    images: int = Field(6400, ge=16)
    """Images at any one time."""
    size: int = Field(128, ge=16)
    """Side of an image in pixels."""
    redraw_every: int = Field(1, ge=0)
    """Steps after which 16 images are drawn anew, in turn; 0 leaves the pool as it is."""
    formulas: Mapping[str, int] = {
        "fractal": 70, "noise": 50, "gratings": 45, "sparse": 40, "mosaic": 45,
        "leaves": 45, "blobs": 55, "strokes": 25, "networks": 25,
    }  # fmt: skip
    """How many formulas of each family there are to tell apart."""


class ViewSettings(Section):
    """[views]: how an image of the pool becomes an input of the network."""

    size: int = Field(112, ge=16)
    """Side of an input in pixels, at the end; the card says it, and it is the default side of stage 1's images."""
    first_size: int = Field(80, ge=16)
    """Side of an input until then; smaller is quicker."""
    final_share: float = Field(0.5, ge=0, le=1)
    """Share of the steps at `size`."""
    mixed: float = Field(0.2, ge=0, le=1)
    """Share of images of which a part is replaced by another formula's."""


class ObjectiveSettings(Section):
    """[objective]: weights of the terms of the loss."""

    descriptors: float = Field(1.0, ge=0)
    """Squared error of the descriptors of the view before noise: thumbnail, edges, texture, histogram, surround."""
    factors: float = Field(0.5, ge=0)
    """Squared error of the factors of the view: zoom, rotation, brightness, contrast, noise, blur, enlargement."""
    formula: float = Field(1.0, ge=0)
    """Cross-entropy of the formula that drew the image."""
    instance: float = Field(0.0, ge=0)
    """InfoNCE: two views of one image against the views of all other images of the batch; 0 saves the second view."""
    temperature: float = Field(0.2, gt=0)
    """Of InfoNCE."""


class PretrainConfig(Section):
    """A whole pretraining run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Stem of the written files: `<name>.safetensors` and `<name>.json`."""
    output: ConfigPath
    """Folder of the written files and of the checkpoint."""
    architecture: str
    """A name of the table of encoders."""
    begin_from: ConfigPath | None = None
    """Weight file of the same architecture to begin from, such as an earlier version; None begins at random."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's products; `auto`: bfloat16 where the device computes it natively."""
    steps: int = Field(ge=1)
    """Steps to train, over all resumed runs together; learning rate and size of the inputs follow them."""
    batch: int = Field(64, ge=2)
    """Images per step; each gives one view, or two where the objective has the instance term."""
    learning_rate: float = Field(1.5e-3, gt=0)
    """Highest learning rate of AdamW, reached after 3 % of the run."""
    weight_decay: float = Field(0.05, ge=0)
    """Of AdamW."""
    average: float = Field(0.998, ge=0, lt=1)
    """Memory per step of the running average of the weights, which is what is written."""
    seed: int = Field(2026, ge=0)
    """Of formulas, images, views and initial weights."""
    threads: int | None = Field(None, ge=1)
    """Threads of the training on a CPU; None takes what torch takes."""
    checkpoint_steps: int = Field(200, ge=1)
    """Steps between checkpoints."""
    pool: PoolSettings
    views: ViewSettings = ViewSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
