"""Views: images of the pool as a network sees them, turned, zoomed, windowed, blurred, noisy, grey or coloured.

Noise is white or short-ranged as in a CT, windows are narrow or wide, and three channels are one grey image, three
windows of it, or three colours. Most views have fewer pixels than the input of the network and are enlarged to it, as
the crop around a lesion is. What was done to a view is returned as numbers, the factors, and what it shows before the
noise as an image, from which `descriptors` are taken: so that features keep brightness, contrast, scale, direction
and place instead of forgetting them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from extract.pretrain.canvas import Canvas, column, standardised

FACTORS = (
    "log zoom", "turn", "brightness", "log contrast", "log noise over contrast", "blur", "log enlargement",
)  # fmt: skip
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""The normalisation of every published torchvision weight, so that one preprocessing serves all encoders."""

_TURN = 0.35
_ZOOM = (0.35, 1.0)
_ENLARGED = 0.6
_ENLARGEMENT = (1.3, 10.0)
_TOGETHER = 16
"""Views that are enlarged by one factor, as they are drawn together."""


@dataclass(frozen=True)
class Views:
    """A batch of views.

    Attributes:
        images: float32 (n, 3, size, size), normalised by MEAN and STD.
        clean: float32 (n, size, size) in [0, 1], the mean of the three channels as they would be without noise.
        factors: float32 (n, len(FACTORS)), each of about zero mean and unit deviation.
        partner: int64 (n,), index of the image that shows through some views.
        own_share: float32 (n,), share of the area that is still the image's own.
    """

    images: Tensor
    clean: Tensor
    factors: Tensor
    partner: Tensor
    own_share: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Concatenate batches; the indices of partners are shifted."""
        starts = [sum(len(p.images) for p in parts[:k]) for k in range(len(parts))]
        moved = [replace(p, partner=p.partner + start) for p, start in zip(parts, starts, strict=True)]
        return cls(*(torch.cat([getattr(p, f.name) for p in moved]) for f in fields(cls)))


def draw_views(images: Tensor, size: int, chance: torch.Generator, *, mixed: float = 0.0) -> Views:
    """Draw one view of `size` pixels of each standardised image (n, s, s); in a share `mixed` two images meet."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    views = Views.joined([_draw_together(part, size, chance, mixed) for part in images.split(_TOGETHER)])
    return replace(views, images=(views.images - mean) / std)


def _draw_together(images: Tensor, size: int, chance: torch.Generator, mixed: float) -> Views:
    """Draw views that are enlarged by one factor, in [0, 1] and not yet normalised."""
    enlargement = _draw_enlargement(chance)
    canvas = Canvas(len(images), max(4, round(size / enlargement)), chance)
    grey, zoom, turn = _turned_and_zoomed(_reduced(images, 2 * canvas.size), canvas)
    own = _own_part(canvas, mixed)
    partner = torch.arange(canvas.n, device=images.device).roll(1)
    grey = _met(grey, grey[partner], own, canvas)
    blur = canvas.uniform() * (canvas.uniform() < 0.5)
    grey = torch.lerp(grey, _smoothed(grey), column(blur))
    contrast = canvas.uniform(low=math.log(0.03), high=math.log(0.6)).exp()
    brightness = canvas.uniform(low=0.1, high=0.9)
    noise = canvas.uniform(low=math.log(0.02), high=math.log(0.8)).exp()
    paint = Paint.drawn(canvas)
    shown = [
        paint(column(brightness) + column(contrast) * field)
        for field in (grey, grey + column(noise) * _grain(canvas))
    ]
    clean, noisy = (_enlarged(image, size) for image in (shown[0].mean(1, keepdim=True), shown[1]))
    factors = torch.stack(
        [
            (zoom.log() + 0.525) * 3.3, turn * 5, (brightness - 0.5) * 4.3, (contrast.log() + 2.01) * 1.16,
            noise.log() + 2.07, (blur - 0.25) * 3, torch.full_like(zoom, (math.log(enlargement) - 0.77) * 1.3),
        ],
        dim=1,
    )  # fmt: skip
    return Views(noisy, clean[:, 0], factors, partner, own.mean((1, 2)))


def _draw_enlargement(chance: torch.Generator) -> float:
    whether, how_much = torch.rand(2, generator=chance, device=chance.device).tolist()
    low, high = (math.log(value) for value in _ENLARGEMENT)
    return math.exp(low + (high - low) * how_much) if whether < _ENLARGED else 1.0


def _reduced(images: Tensor, side: int) -> Tensor:
    """Average pixels together where there are far more than the view can show."""
    if images.shape[-1] <= side:
        return images
    return functional.adaptive_avg_pool2d(images, side)


def _enlarged(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def _own_part(canvas: Canvas, mixed: float) -> Tensor:
    """Return (n, size, size) from 0 to 1: the part an image keeps beside a smooth border, mostly all of it."""
    smooth = functional.interpolate(
        canvas.normal(1, 5, 5), size=(canvas.size, canvas.size), mode="bicubic", align_corners=True
    )
    border = torch.where(canvas.uniform() < mixed, canvas.uniform(low=-0.6, high=0.6), -9.0)
    sharpness = canvas.uniform(low=1.5, high=4.0).exp()
    return torch.sigmoid((smooth[:, 0] - column(border)) * column(sharpness))


def _met(grey: Tensor, other: Tensor, own: Tensor, canvas: Canvas) -> Tensor:
    """Let two images meet, each with a level and a contrast of its own, as two materials do."""
    level = column(1.5 * canvas.normal())
    grey, other = (
        image * column(canvas.uniform(low=-1.5, high=0.5).exp()) + half * level
        for image, half in ((grey, 1), (other, -1))
    )
    return standardised(torch.lerp(other, grey, own))


def _turned_and_zoomed(images: Tensor, canvas: Canvas) -> tuple[Tensor, Tensor, Tensor]:
    zoom = canvas.uniform(low=math.log(_ZOOM[0]), high=math.log(_ZOOM[1])).exp()
    turn = canvas.uniform(low=-_TURN, high=_TURN)
    free = (1 - zoom)[:, None]
    shift = canvas.uniform(2, low=-1) * free
    stretch = canvas.uniform(low=-0.15, high=0.15).exp()
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    rows = [
        torch.stack([cos * stretch, -sin, shift[:, 0]], -1),
        torch.stack([sin, cos / stretch, shift[:, 1]], -1),
    ]
    grid = functional.affine_grid(
        torch.stack(rows, 1), [canvas.n, 1, canvas.size, canvas.size], align_corners=False
    )
    turned = functional.grid_sample(images[:, None], grid, padding_mode="reflection", align_corners=False)
    return turned[:, 0], zoom, turn


def _smoothed(images: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    # Zeros beyond the border would draw a frame that no real image has.
    images = functional.pad(images[:, None], (2, 2, 2, 2), mode="replicate")
    return functional.conv2d(functional.conv2d(images, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))[
        :, 0
    ]


def _grain(canvas: Canvas) -> Tensor:
    white = canvas.normal(canvas.size, canvas.size)
    return torch.lerp(white, _smoothed(white) * 3, column(canvas.uniform()))


@dataclass(frozen=True)
class Paint:
    """How grey images become three channels: half stay grey, a quarter become windows, a quarter colours.

    Attributes:
        kind: (n, 1, 1, 1), from 0 to 1.
        centre: (n, 3, 1, 1), of the windows.
        width: (n, 3, 1, 1), by which the windows multiply.
        tint: (n, 3, 1, 1), of the colours.
        other: (n, 3, 1, 1), how much of the next image colours this one.
    """

    kind: Tensor
    centre: Tensor
    width: Tensor
    tint: Tensor
    other: Tensor

    @classmethod
    def drawn(cls, canvas: Canvas) -> Self:
        """Draw what differs between images."""
        return cls(
            canvas.uniform(1, 1, 1),
            canvas.uniform(3, 1, 1, low=0.25, high=0.75),
            canvas.uniform(3, 1, 1, low=-0.7, high=0.9).exp(),
            1 + 0.6 * canvas.normal(3, 1, 1),
            0.6 * canvas.normal(3, 1, 1),
        )

    def __call__(self, grey: Tensor) -> Tensor:
        """Turn (n, s, s) into (n, 3, s, s) from 0 to 1."""
        same = grey[:, None].expand(-1, 3, -1, -1)
        windows = (same - self.centre) * self.width + 0.5
        next_image = _smoothed(grey.roll(1, 0))[:, None]
        colours = 0.5 + (same - 0.5) * self.tint + (next_image - 0.5) * self.other
        chosen = torch.where(self.kind < 0.5, same, torch.where(self.kind < 0.75, windows, colours))
        return chosen.clamp(0, 1)
