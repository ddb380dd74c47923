"""How much of each cell of a feature map lies in the lesion, and in the ring around it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from extract.region_pooling import LESION, RIM, Grid


def draw_regions(
    masks: NDArray[np.bool_], spacing_mm: tuple[float, float], regions: Sequence[str], rim_mm: float
) -> NDArray[np.bool_]:
    """Draw regions on the pixels of crops.

    Args:
        masks: bool (n, rows, columns), all tumour.
        spacing_mm: (row, column) pixel spacing.
        regions: `lesion`, `rim` or both.
        rim_mm: the rim holds the pixels outside of the tumour whose centre is at most so far from that of one within.

    Returns:
        bool (n, len(regions), rows, columns).
    """
    drawn = {LESION: masks}
    if RIM in regions:
        drawn[RIM] = np.stack([_ring(mask, spacing_mm, rim_mm) for mask in masks])
    return np.stack([drawn[region] for region in regions], axis=1)


def _ring(mask: NDArray[np.bool_], spacing_mm: tuple[float, float], rim_mm: float) -> NDArray[np.bool_]:
    ring = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ring
    # Nothing further away than the width needs a distance.
    reach = [int(rim_mm / spacing) + 1 for spacing in spacing_mm]
    near = tuple(
        slice(max(0, used[0] - room), used[-1] + room + 1)
        for used, room in zip((rows, columns), reach, strict=True)
    )
    distance = ndimage.distance_transform_edt(~mask[near], sampling=spacing_mm)
    ring[near] = (distance > 0) & (distance <= rim_mm)
    return ring


def coverage(drawn: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Return the share of each cell of maps that regions cover, exact by area.

    Args:
        drawn: bool or uint8 (n, r, rows, columns), the pixels that are shown to the encoder.
        grids: rows and columns of each map; a map shows the same square, cut into equal cells.

    Returns:
        float32 (n, r, cells), one map's cells after the other's, row after row.
    """
    n_rows, n_columns = drawn.shape[2:]
    pixels = drawn.float()
    shares = []
    for rows, columns in grids:
        vertical = _overlaps(n_rows, rows).to(pixels.device)
        horizontal = _overlaps(n_columns, columns).to(pixels.device)
        shares.append(torch.einsum("ap,nrpq,bq->nrab", vertical, pixels, horizontal).flatten(2))
    return torch.cat(shares, dim=2)


def _overlaps(n_pixels: int, n_cells: int) -> Tensor:
    """Return float32 (cells, pixels): the share of each cell that lies in each pixel."""
    ends = torch.arange(n_cells + 1, dtype=torch.float64) * n_pixels / n_cells
    pixel = torch.arange(n_pixels, dtype=torch.float64)
    inside = torch.minimum(ends[1:, None], pixel + 1) - torch.maximum(ends[:-1, None], pixel)
    return (inside.clamp(min=0) * n_cells / n_pixels).float()
