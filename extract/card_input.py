"""From crops in HU to what the network of a card is given: the steps of [input], in their order."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from extract.encoder_cards import OUR_ORIENTATION, CardInput, FixedScaling, OwnScaling

Length = TypeVar("Length", int, float)


def prepared(hu: Tensor, card: CardInput) -> Tensor:
    """Do to crops what the card says, all but the orientation.

    Args:
        hu: (n, 1, rows, columns), or of volumes (n, 1, slices, rows, columns), in HU.
        card: what to do.

    Returns:
        float32 (n, channels, *size), axes as in `hu`.
    """
    values = hu.float()
    if card.cast == "int16":
        values = values.trunc().clamp(-32768, 32767)
    if card.hu_clip is not None:
        values = values.clamp(*card.hu_clip)
    if card.windows:
        shown = [((values - level) / width + 0.5).clamp(0, 1) for level, width in card.windows]
        values = torch.cat(shown, dim=1)
    values = _resized(values / card.divide_by, card)
    values = _scaled(values, card.scaling)
    return values.expand(-1, card.channels, *values.shape[2:]) if values.shape[1] == 1 else values


def _resized(values: Tensor, card: CardInput) -> Tensor:
    size = to_our_axes(card.size, card.orientation)
    if tuple(values.shape[2:]) == size:
        return values
    mode, _, antialias = card.resize.partition("_")
    if card.dims == 3:
        return functional.interpolate(values, size, mode="trilinear")
    return functional.interpolate(values, size, mode=mode, antialias=bool(antialias))


def to_our_axes(size: Sequence[Length], orientation: str) -> tuple[Length, ...]:
    """Return lengths of axes that point as `orientation` says in the order of our axes."""
    order = _order(orientation)
    return tuple(size[order.index(axis)] for axis in range(len(size)))


def _scaled(values: Tensor, scaling: FixedScaling | OwnScaling) -> Tensor:
    if isinstance(scaling, FixedScaling):
        shape = (1, -1, *[1] * (values.ndim - 2))
        mean, deviation = (values.new_tensor(v).view(shape) for v in (scaling.mean, scaling.deviation))
        return (values - mean) / deviation
    axes = tuple(range(1, values.ndim))
    deviation, mean = torch.std_mean(values, dim=axes, keepdim=True)
    return (values - mean) / torch.where(deviation < scaling.least_deviation, 1, deviation)


def turned(values: Tensor, orientation: str) -> Tensor:
    """Turn the last axes of a tensor from our orientation to that of a card."""
    order = _order(orientation)
    first = values.ndim - len(order)
    permuted = values.permute(*range(first), *(first + axis for axis in order))
    return permuted.flip(_flipped(orientation, first)) if _flipped(orientation, first) else permuted


def turned_back(values: Tensor, orientation: str) -> Tensor:
    """Turn the last axes of a tensor from the orientation of a card to ours."""
    order = _order(orientation)
    first = values.ndim - len(order)
    flipped = values.flip(_flipped(orientation, first)) if _flipped(orientation, first) else values
    back = sorted(range(len(order)), key=order.__getitem__)
    return flipped.permute(*range(first), *(first + axis for axis in back))


_AXIS_OF = {letter: axis for axis, pair in enumerate(("SI", "PA", "LR")) for letter in pair}


def _order(orientation: str) -> list[int]:
    """Return which of our axes each axis of the card is."""
    skipped = 3 - len(orientation)
    return [_AXIS_OF[letter] - skipped for letter in orientation]


def _flipped(orientation: str, first: int) -> list[int]:
    return [first + i for i, letter in enumerate(orientation) if letter not in OUR_ORIENTATION]
