"""How much of each cell of a feature map lies in the lesion, and in the ring around it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from extract.region_pooling import LESION, RIM, Grid


def draw_regions(
    masks: NDArray[np.bool_], spacing_mm: Sequence[float], regions: Sequence[str], rim_mm: float
) -> NDArray[np.bool_]:
    """Draw regions on the pixels of crops, or on the voxels of volumes.

    Args:
        masks: bool (n, rows, columns), of volumes (n, planes, rows, columns), all tumour.
        spacing_mm: of the same axes, such as (row, column).
        regions: `lesion`, `rim` or both.
        rim_mm: the rim holds the pixels or voxels outside of the tumour whose centre is at most so far from that of one within.

    Returns:
        bool (n, len(regions), rows, columns), of volumes (n, len(regions), planes, rows, columns).
    """
    drawn = {LESION: masks}
    if RIM in regions:
        drawn[RIM] = np.stack([_ring(mask, spacing_mm, rim_mm) for mask in masks])
    return np.stack([drawn[region] for region in regions], axis=1)


def _ring(mask: NDArray[np.bool_], spacing_mm: Sequence[float], rim_mm: float) -> NDArray[np.bool_]:
    ring = np.zeros_like(mask)
    boxes = ndimage.find_objects(mask.view(np.uint8))
    if not boxes:
        return ring
    # Nothing further away than the width needs a distance.
    reach = [int(rim_mm / spacing) + 1 for spacing in spacing_mm]
    near = tuple(
        slice(max(0, used.start - room), used.stop + room) for used, room in zip(boxes[0], reach, strict=True)
    )
    distance = ndimage.distance_transform_edt(~mask[near], sampling=spacing_mm)
    ring[near] = (distance > 0) & (distance <= rim_mm)
    return ring


def coverage(drawn: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Return the share of each cell of maps that regions cover, exact by area, of volumes exact by volume.

    Args:
        drawn: (n, r, rows, columns), of volumes (n, r, planes, rows, columns): which pixels of what is shown to the
            encoder lie in the region, or the share of each that does.
        grids: cells of each map along these axes; a map shows the same square or box, cut into equal cells.

    Returns:
        float32 (n, r, cells), one map's cells after the other's, the last axis running first.
    """
    shape, pixels = drawn.shape[2:], drawn.float()
    n_axes = len(shape)
    given, wanted = "pqs"[:n_axes], "abc"[:n_axes]
    others = ",".join(f"{cell}{pixel}" for cell, pixel in zip(wanted[1:], given[1:], strict=True))
    shares = []
    for grid in grids:
        cells = grid or (1,) * n_axes
        first, *rest = (_overlaps(n, k).to(pixels.device) for n, k in zip(shape, cells, strict=True))
        product = f"{wanted[0]}{given[0]},nr{given},{others}->nr{wanted}"
        shares.append(torch.einsum(product, first, pixels, *rest).flatten(2))
    return torch.cat(shares, dim=2)


def _overlaps(n_pixels: int, n_cells: int) -> Tensor:
    """Return float32 (cells, pixels): the share of each cell that lies in each pixel."""
    ends = torch.arange(n_cells + 1, dtype=torch.float64) * n_pixels / n_cells
    pixel = torch.arange(n_pixels, dtype=torch.float64)
    inside = torch.minimum(ends[1:, None], pixel + 1) - torch.maximum(ends[:-1, None], pixel)
    return (inside.clamp(min=0) * n_cells / n_pixels).float()
