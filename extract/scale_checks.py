"""Whether the scales of a configuration fit its encoder: slabs for a 3D one, and what a card says of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from extract.architectures import ARCHITECTURES
from extract.card_input import to_our_axes
from extract.encoder_cards import EncoderCard
from extract.scales import WHOLE_SLICE, Box, Scale, SlabScale, box_of
from pipeline.errors import ConfigError

if TYPE_CHECKING:  # it is made of the scales, and so imports this module
    from extract.config import InputSection

_NEAR_ENOUGH = 0.01
"""Share by which a length may differ from that of a card."""


def check_scales(section: "InputSection", encoder: str, dims: int, place: str) -> None:
    """Refuse what an encoder cannot be shown.

    Args:
        section: [extract.input].
        encoder: name of the encoder, where no card describes it.
        dims: 3 where it sees slabs, 2 where it sees slices.
        place: of [extract], for messages.

    Raises:
        ConfigError: a 3D encoder is given slices, or three of them in its channels, or more windows than it has channels.
    """
    if dims == 2:
        return
    if section.planes == 3:
        raise ConfigError(
            f"{place}.input.planes: expected 1 with a 3D encoder, which sees the planes of a slab, found 3; leave it out"
        )
    flat = next((name for name, box in section.boxes.items() if box.depth_mm is None), None)
    if flat is not None:
        side = section.boxes[flat].side_mm
        told = f'"{WHOLE_SLICE}"' if side is None else f"{side:g}"
        raise ConfigError(
            f"{place}.input.scales_mm.{flat}: expected a slab for a 3D encoder, found a scale without a depth ({told}); "
            f"write {flat} = {{ side = {told}, depth = 24.0 }}, with the depth in mm, or choose a 2D encoder"
        )
    row = ARCHITECTURES.get(encoder)
    if row is not None and row.dims == 3 and row.channels < len(section.windows):
        raise ConfigError(
            f"{place}.input.windows: expected {row.channels} for {encoder}, which has as many channels, found "
            f"{len(section.windows)} (three are the default about a reference); write windows = [[40, 400]], or "
            'windows = [[0, 400]] with reference = "liver"'
        )


def scales_of_card(
    given: Mapping[str, Scale] | None, default: Mapping[str, Scale], card: EncoderCard, place: str
) -> Mapping[str, Scale]:
    """Return the scales of a run with a card: the configuration's, else the card's.

    Args:
        given: by the configuration; None where it says nothing.
        default: what holds then, unless the card says something.
        card: of the encoder.
        place: of [extract], for messages.

    Raises:
        ConfigError: a scale of the configuration gives another spacing than the card's, or nothing says how deep a slab is.
    """
    if card.input.spacing_mm is not None:
        return {"card": _scale_of_spacing(given, card, card.input.spacing_mm, place)}
    if given is not None:
        return given
    if card.input.dims == 3:
        raise ConfigError(
            f"{place}.input.scales_mm: expected slabs, because the card {card.name} is of volumes and states no spacing_mm, found "
            "none; write scales_mm = { slab = { side = 70.0, depth = 24.0 } }, in mm"
        )
    return default if card.input.field_of_view == "crop" else {WHOLE_SLICE: WHOLE_SLICE}


def _scale_of_spacing(
    given: Mapping[str, Scale] | None, card: EncoderCard, spacing_mm: tuple[float, ...], place: str
) -> Scale:
    size, spacing = (to_our_axes(values, card.input.orientation) for values in (card.input.size, spacing_mm))
    lengths = [n * step for n, step in zip(size, spacing, strict=True)]
    side, depth = lengths[-1], lengths[0] if card.input.dims == 3 else None
    expected: Scale = side if depth is None else SlabScale(side=side, depth=depth)
    wrong = [value for value in (given or {}).values() if not _is_near(box_of(value), Box(side, depth))]
    if wrong:
        told = f"{side:g} mm" if depth is None else f"side {side:g} and depth {depth:g} mm"
        raise ConfigError(
            f"{place}.input.scales_mm: expected {told}, the size by the spacing of the card {card.name}, found "
            f"{wrong[0]}; leave scales_mm out"
        )
    return expected


def _is_near(found: Box, expected: Box) -> bool:
    pairs = ((found.side_mm, expected.side_mm), (found.depth_mm, expected.depth_mm))
    return all(
        a == b or (a is not None and b is not None and abs(a - b) <= b * _NEAR_ENOUGH) for a, b in pairs
    )
