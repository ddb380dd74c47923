"""Views: images of the pool as a network sees them, turned, zoomed, windowed, blurred, noisy, grey or coloured.

Noise is white or short-ranged as in a CT, windows are narrow or wide, and three channels are one grey image, three
windows of it, or three colours. What was done to a view is returned as numbers, the factors, which the network
learns to tell: so its features keep brightness, contrast, noise, scale and direction instead of forgetting them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from extract.pretrain.canvas import Canvas, column

FACTORS = ("log zoom", "turn", "brightness", "log contrast", "log noise over contrast", "blur")
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""The normalisation of every published torchvision weight, so that one preprocessing serves all encoders."""

_TURN = 0.35
_ZOOM = (0.5, 1.0)


@dataclass(frozen=True)
class Views:
    """A batch of views.

    Attributes:
        images: float32 (n, 3, size, size), normalised by MEAN and STD.
        factors: float32 (n, len(FACTORS)), each of about zero mean and unit deviation.
        partner: int64 (n,), index of the image that shows through some views.
        own_share: float32 (n,), share of the area that is still the image's own.
    """

    images: Tensor
    factors: Tensor
    partner: Tensor
    own_share: Tensor


def draw_views(fields: Tensor, size: int, chance: torch.Generator, *, mixed: float = 0.0) -> Views:
    """Draw one view of `size` pixels of each standardised image (n, s, s); in a share `mixed` two images meet."""
    canvas = Canvas(len(fields), size, chance)
    grey, zoom, turn = _turned_and_zoomed(fields, canvas)
    own = _own_part(canvas, mixed)
    partner = torch.arange(canvas.n, device=fields.device).roll(1)
    grey = torch.lerp(grey[partner], grey, own)
    blur = canvas.uniform() * (canvas.uniform() < 0.5)
    grey = torch.lerp(grey, _smoothed(grey), column(blur))
    contrast = (canvas.uniform(low=math.log(0.05), high=math.log(0.4))).exp()
    brightness = canvas.uniform(low=0.2, high=0.8)
    noise = canvas.uniform(low=math.log(0.02), high=math.log(0.8)).exp()
    grey = column(brightness) + column(contrast) * _coarsened(grey + column(noise) * _grain(canvas), canvas)
    images = _coloured(grey, canvas).clamp(0, 1)
    factors = torch.stack(
        [
            (zoom.log() + 0.35) / 0.2, turn * 5, (brightness - 0.5) * 5.8,
            (contrast.log() + 1.96) * 1.7, noise.log() + 2.07, (blur - 0.25) * 3,
        ],
        dim=1,
    )  # fmt: skip
    mean, std = (torch.tensor(values, device=fields.device)[:, None, None] for values in (MEAN, STD))
    return Views((images - mean) / std, factors, partner, own.mean((1, 2)))


def _own_part(canvas: Canvas, mixed: float) -> Tensor:
    """Return (n, size, size) from 0 to 1: the part an image keeps beside a smooth border, mostly all of it."""
    smooth = functional.interpolate(
        canvas.normal(1, 5, 5), size=(canvas.size, canvas.size), mode="bicubic", align_corners=True
    )
    border = torch.where(canvas.uniform() < mixed, canvas.uniform(low=-0.6, high=0.6), -9.0)
    return torch.sigmoid((smooth[:, 0] - column(border)) * 10)


def _turned_and_zoomed(fields: Tensor, canvas: Canvas) -> tuple[Tensor, Tensor, Tensor]:
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
    turned = functional.grid_sample(fields[:, None], grid, padding_mode="reflection", align_corners=False)
    return turned[:, 0], zoom, turn


def _coarsened(images: Tensor, canvas: Canvas) -> Tensor:
    """Show four in ten images as if few pixels had been enlarged, as the crop of a small lesion is."""
    side = max(4, round(canvas.size / float(1.5 + 4 * canvas.uniform()[0])))
    few = functional.interpolate(images[:, None], (side, side), mode="bilinear", antialias=True)
    enlarged = functional.interpolate(few, images.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return torch.where(column(canvas.uniform()) < 0.4, enlarged, images)


def _smoothed(images: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    images = functional.conv2d(images[:, None], kernel.view(1, 1, 1, 5), padding=(0, 2))
    return functional.conv2d(images, kernel.view(1, 1, 5, 1), padding=(2, 0))[:, 0]


def _grain(canvas: Canvas) -> Tensor:
    white = canvas.normal(canvas.size, canvas.size)
    return torch.lerp(white, _smoothed(white) * 3, column(canvas.uniform()))


def _coloured(grey: Tensor, canvas: Canvas) -> Tensor:
    """Give (n, s, s) images three channels: half stay grey, a quarter become windows, a quarter colours."""
    kind = canvas.uniform()[:, None, None, None]
    same = grey[:, None].expand(-1, 3, -1, -1)
    centre = canvas.uniform(3, low=0.25, high=0.75)[:, :, None, None]
    width = canvas.uniform(3, low=-0.7, high=0.9).exp()[:, :, None, None]
    windows = (same - centre) * width + 0.5
    other = _smoothed(grey.roll(1, 0))[:, None]
    tint = canvas.normal(3)[:, :, None, None]
    colours = 0.5 + (same - 0.5) * (1 + 0.6 * tint) + (other - 0.5) * 0.6 * canvas.normal(3)[:, :, None, None]
    return torch.where(kind < 0.5, same, torch.where(kind < 0.75, windows, colours))
