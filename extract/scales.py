"""A scale is a box around the tumour: the side of its square, and its depth where it holds more than the slice itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from pipeline.config import Section

Millimetres = Annotated[float, Field(gt=0)]
WHOLE_SLICE: Literal["whole"] = "whole"
Side = Millimetres | Literal["whole"]


class SlabScale(Section):
    """A scale with a depth, as in { side = 70.0, depth = 24.0 }: a slab of neighbouring slices in place of the slice itself."""

    side: Side
    """Side of the square around the tumour in mm, or `whole` slice."""
    depth: Millimetres
    """Thickness of the slab along z in mm, half of it below and half above the middle of the slice."""


def _kind_of(scale: object) -> str:
    if isinstance(scale, str):
        return "whole"
    return "slab" if isinstance(scale, dict | SlabScale) else "number"


Scale = Annotated[
    Annotated[Millimetres, Tag("number")]
    | Annotated[Literal["whole"], Tag("whole")]
    | Annotated[SlabScale, Tag("slab")],
    Discriminator(_kind_of),
]
"""What [extract.input] scales_mm holds for a name."""


@dataclass(frozen=True)
class Box:
    """What a scale shows.

    Attributes:
        side_mm: of the square in the plane of the slice; None for the whole slice.
        depth_mm: along z; None for the slice itself.
    """

    side_mm: float | None
    depth_mm: float | None = None


def box_of(scale: float | str | SlabScale) -> Box:
    """Return the box of a scale as the configuration writes it."""
    if isinstance(scale, SlabScale):
        return Box(_side_mm(scale.side), scale.depth)
    return Box(_side_mm(scale))


def _side_mm(side: float | str) -> float | None:
    return None if isinstance(side, str) else side


def box_around(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds others, one at least, around the same middle."""
    found = tuple(boxes)
    sides = [box.side_mm for box in found if box.side_mm is not None]
    depths = [box.depth_mm for box in found if box.depth_mm is not None]
    return Box(max(sides) if len(sides) == len(found) else None, max(depths) if depths else None)


def slab_around(boxes: Iterable[Box]) -> Box | None:
    """Return the smallest box that holds those with a depth; None where none has one."""
    slabs = [box for box in boxes if box.depth_mm is not None]
    return box_around(slabs) if slabs else None
