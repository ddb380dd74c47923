"""Features of a slice or slab: means of feature maps over the crop, the lesion and the ring around it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from extract.feature_maps import FeatureMap
from pipeline.bags import WHOLE, FeatureBlock
from pipeline.errors import ConfigError

LESION = "lesion"
RIM = "rim"
CLASS_TOKEN = "cls"
REGIONS = (WHOLE, LESION, RIM, CLASS_TOKEN)
DRAWN_REGIONS = (LESION, RIM)
"""Regions that follow from the mask of the tumour."""

Grid = tuple[int, ...]
"""Rows and columns of a map, of a slab planes, rows and columns; empty for a vector, which has no places."""


def drawn_regions(regions: Sequence[str]) -> tuple[str, ...]:
    """Return the regions that need a mask of the tumour, in their order."""
    return tuple(region for region in regions if region in DRAWN_REGIONS)


def default_regions(maps: Sequence[FeatureMap]) -> tuple[str, ...]:
    """Return what is read where the configuration names no region: the class token, or the mean over the crop."""
    return (CLASS_TOKEN,) if all(m.class_token is not None for m in maps) else (WHOLE,)


def check_regions(maps: Sequence[FeatureMap], regions: Sequence[str], encoder: str) -> None:
    """Refuse a region that a layer cannot give.

    Raises:
        ConfigError: the encoder, the layer, the region and what the layer can give are named.
    """
    for layer in maps:
        possible = [WHOLE] if layer.places is None else [WHOLE, LESION, RIM]
        possible += [] if layer.class_token is None else [CLASS_TOKEN]
        wrong = [region for region in regions if region not in possible]
        if wrong:
            raise ConfigError(
                f"[extract] regions: layer {layer.layer} of {encoder} has no {wrong[0]!r}; expected some of "
                f"{', '.join(possible)}"
            )


def grids(maps: Sequence[FeatureMap]) -> tuple[Grid, ...]:
    """Return the cells of each map along its axes; none for a vector."""
    return tuple(() if m.places is None else tuple(m.places.shape[2:]) for m in maps)


def feature_blocks(maps: Sequence[FeatureMap], regions: Sequence[str]) -> tuple[FeatureBlock, ...]:
    """Return which columns of `pooled` look at what: `lesion`, or of several layers `lesion@features.4`."""
    blocks: list[FeatureBlock] = []
    for layer in maps:
        n_channels = layer.values.shape[-1 if layer.values.ndim == 3 else 1]
        for region in regions:
            start = blocks[-1].stop if blocks else 0
            name = region if len(maps) == 1 else f"{region}@{layer.layer}"
            blocks.append(FeatureBlock(name, start, start + n_channels))
    return tuple(blocks)


def pooled(maps: Sequence[FeatureMap], regions: Sequence[str], coverage: Tensor | None = None) -> Tensor:
    """Return the means of maps over regions, in float32 whatever the precision of the maps.

    A region that covers nothing of an image, such as the rim of a lesion that fills the crop, is given the class token
    where there is one, and the mean over the crop where there is none.

    Args:
        maps: k layers of n images.
        regions: names of REGIONS.
        coverage: float32 (n, r, cells), the share of each cell of the maps, one map's cells after the other's, that
            lies in each of the r regions that need a mask; None where none of the regions does.

    Returns:
        float32 (n, d): layer after layer, within it region after region.
    """
    sizes = [math.prod(grid) for grid in grids(maps)]
    shares: Sequence[Tensor | None] = [None] * len(maps) if coverage is None else coverage.split(sizes, dim=2)
    parts = [_of_layer(layer, regions, share) for layer, share in zip(maps, shares, strict=True)]
    return torch.cat(parts, dim=1)


def _of_layer(layer: FeatureMap, regions: Sequence[str], share: Tensor | None) -> Tensor:
    """Return float32 (n, len(regions) * c)."""
    places = layer.places
    if places is None:
        return layer.values.float().repeat(1, len(regions))
    n_cells = math.prod(places.shape[2:])
    crop = places.new_full((len(places), 1, n_cells), 1 / n_cells, dtype=torch.float32)
    weights = crop if share is None else torch.cat([crop, _normalised(share)], dim=1)
    # Each row of weights is a region: one product of (regions, cells) and (cells, channels) an image.
    means = torch.einsum("ncp,nrp->nrc", places.float().flatten(2), weights)
    if layer.after_mean is not None:
        means = layer.after_mean(means.flatten(0, 1)).view_as(means)
    token = None if layer.class_token is None else layer.class_token.float()
    if share is not None:
        is_empty = (share.sum(2) == 0).unsqueeze(2)
        instead = means[:, :1] if token is None else token.unsqueeze(1)
        means = torch.cat([means[:, :1], torch.where(is_empty, instead, means[:, 1:])], dim=1)
    named = dict(zip((WHOLE, *drawn_regions(regions)), means.unbind(1), strict=False))
    if token is not None:
        named[CLASS_TOKEN] = token
    return torch.cat([named[region] for region in regions], dim=1)


def _normalised(share: Tensor) -> Tensor:
    total = share.sum(2, keepdim=True)
    return share / torch.where(total > 0, total, 1)
