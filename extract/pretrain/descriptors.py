"""Descriptors: numbers computed from the pixels that say what an image shows, and where.

A network trained only to tell textures apart loses what an untrained one keeps: positions, brightness, strength of
edges. Predicting the descriptors keeps it. They are computed from the view before noise, so that predicting them
requires denoising.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

CELLS = 8
"""Rows and columns of the thumbnail."""
EDGE_CELLS = 4
"""Rows and columns of the map of edges."""
EDGE_SIDES = (56, 16)
"""Sides in pixels to which an image is reduced before its edges are measured: fine and coarse."""
TEXTURE_SIDES = (112, 56, 28, 16)
"""The same for the edges of the whole image."""
HISTOGRAM_SIDE = 40
"""Side in pixels to which an image is reduced before its grey levels are counted."""
LEVELS = 16
"""Grey levels of the histogram."""
RINGS = 6
"""Rings of equal width around the middle, the last of which touches the border."""
FAINT = 0.02
"""Difference of brightness from which a contrast begins to count by its logarithm: a lesion of 8 HU in a window of
400 HU must count as much as bone."""
GROUPS: Mapping[str, int] = {
    "thumbnail": CELLS**2,
    "edges": len(EDGE_SIDES) * 4 * EDGE_CELLS**2,
    "texture": len(TEXTURE_SIDES) * 4,
    "histogram": LEVELS,
    "surround": 5 * (RINGS - 1) + 1,
}
"""The groups of descriptors and how many numbers each has."""


def describe(images: Tensor) -> Mapping[str, Tensor]:
    """Describe square images in [0, 1].

    Args:
        images: float (n, size, size).

    Returns:
        Float (n, GROUPS[name]) for each group: `thumbnail`, mean brightness per cell, row after row; `edges`, root of
        the strength of edges per side, orientation (0, 45, 90, 135 degrees) and cell; `texture`, logarithm of the
        strength of edges per side and orientation; `histogram`, share of the area near each grey level; `surround`,
        what lies in the middle against what lies around it: of every ring but the last by how much it is brighter
        than the next one, darker than the next one, brighter than the last one, darker than the last one, on a
        logarithmic scale, and of every ring the logarithm of its deviation.
    """
    images = images[:, None].float()
    strengths = {side: _edges(images, side) for side in TEXTURE_SIDES}
    edges = [functional.adaptive_avg_pool2d(strengths[side], EDGE_CELLS) for side in EDGE_SIDES]
    texture = [strength.mean((2, 3)) for strength in strengths.values()]
    return {
        "thumbnail": functional.adaptive_avg_pool2d(images, CELLS).flatten(1),
        "edges": torch.cat([strength.flatten(1) for strength in edges], 1).sqrt(),
        "texture": torch.cat(texture, 1).add(3e-3).log(),
        "histogram": _histogram(images),
        "surround": _surround(images),
    }


def standardised_over_batch(descriptors: Tensor) -> Tensor:
    """Bring each descriptor (n, k) to mean 0 and deviation 1 over the batch; one that never differs becomes 0."""
    centred = descriptors - descriptors.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp_min(1e-4)


def _edges(images: Tensor, side: int) -> Tensor:
    """Return the strength of edges (n, 4, side - 2, side - 2) by orientation, whatever their sign.

    A gradient of length r and angle t counts r max(0, cos(2 (t - a))) at the orientation a = 0, 45, 90, 135 degrees.
    """
    images = functional.adaptive_avg_pool2d(images, side)
    along_x = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]) / 2
    along_y = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]) / 2
    length = torch.hypot(along_x, along_y).clamp_min(1e-6)
    upright, slanted = (along_x.square() - along_y.square()) / length, 2 * along_x * along_y / length
    return torch.cat([upright, slanted, -upright, -slanted], 1).clamp_min(0)


def _histogram(images: Tensor) -> Tensor:
    """Return the mean of triangles around LEVELS grey levels from 0 to 1; they add up to 1."""
    values = functional.adaptive_avg_pool2d(images, HISTOGRAM_SIDE).flatten(1)[..., None]
    levels = torch.linspace(0, 1, LEVELS, device=images.device)
    return (1 - (values - levels).abs() * (LEVELS - 1)).clamp_min(0).mean(1)


def _surround(images: Tensor) -> Tensor:
    """Compare rings around the middle (n, 5 (RINGS - 1) + 1), as the on and off cells of a retina do.

    Brighter and darker are two numbers, one of which is 0, and not one with a sign: over the slices of a patient, or
    the phases of a contrast agent, the two kinds of contrast then add up beside each other instead of cancelling.
    """
    values = functional.adaptive_avg_pool2d(images, HISTOGRAM_SIDE).flatten(1)
    rings = _rings(images.device)  # (pixels, RINGS)
    levels = values @ rings
    deviations = (values.square() @ rings - levels.square()).clamp_min(0).sqrt()
    contrasts = torch.cat([levels[:, :-1] - levels[:, 1:], levels[:, :-1] - levels[:, -1:]], 1)
    counted = torch.log1p(contrasts.abs() / FAINT)
    brighter, darker = counted * (contrasts > 0), counted * (contrasts < 0)
    return torch.cat([brighter, darker, deviations.add(FAINT / 2).log()], 1)


def _rings(device: torch.device) -> Tensor:
    """Return weights (HISTOGRAM_SIDE ** 2, RINGS), which add up to 1 over the pixels of a ring."""
    line = (torch.arange(HISTOGRAM_SIDE, device=device) + 0.5) * (2 / HISTOGRAM_SIDE) - 1
    ring = (torch.hypot(line[:, None], line) * RINGS).long().flatten()
    member = functional.one_hot(ring.clamp_max(RINGS), RINGS + 1)[:, :RINGS].float()
    return member / member.sum(0)
