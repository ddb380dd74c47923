"""Which slices of a region become instances."""

import numpy as np
from numpy.typing import NDArray

from extract.config import SlicesSection


def slices_with_region(areas_mm2: NDArray[np.float32], section: SlicesSection) -> NDArray[np.intp]:
    """Return the sorted indices of the slices with the minimum area, before any is thinned out."""
    return np.flatnonzero((areas_mm2 > 0) & (areas_mm2 >= section.minimum_area_mm2))


def choose_slices(
    z_mm: NDArray[np.float32], areas_mm2: NDArray[np.float32], section: SlicesSection
) -> NDArray[np.intp]:
    """Choose slices by the area of the region on them; the same input gives the same choice.

    Args:
        z_mm: float32 (n,), ascending.
        areas_mm2: float32 (n,), 0 where the slice has nothing of the region.
        section: the policy.

    Returns:
        sorted indices; empty when no slice has the minimum area.
    """
    chosen = slices_with_region(areas_mm2, section)
    if section.every_mm is not None and len(chosen):
        chosen = _on_a_grid(chosen, z_mm[chosen].astype(np.float64), areas_mm2[chosen], section.every_mm)
    if section.at_most is not None and len(chosen) > section.at_most:
        places = (np.arange(section.at_most) + 0.5) * len(chosen) / section.at_most
        chosen = chosen[places.astype(np.intp)]
    return chosen


def _on_a_grid(
    chosen: NDArray[np.intp], z_mm: NDArray[np.float64], areas_mm2: NDArray[np.float32], every_mm: float
) -> NDArray[np.intp]:
    """Keep for each multiple of `every_mm` the nearest slice within half a step; at least the largest slice."""
    steps = np.rint(z_mm / every_mm)
    apart = np.abs(z_mm - steps * every_mm)
    nearest = [np.flatnonzero(steps == step)[np.argmin(apart[steps == step])] for step in np.unique(steps)]
    if len(nearest) == 1:
        nearest = [int(np.argmax(areas_mm2))]
    return chosen[np.array(nearest, dtype=np.intp)]
