"""What a radiologist would measure on one slice: density, rim and core, border, texture, size and outline.

All densities are robust medians in Hounsfield units. A measure that the slice cannot give (a lesion of a few
pixels has no core) is NaN, never zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import perimeter_crofton

from pipeline.quantities import greatest_diameter_mm
from pipeline.slices import PhaseSlices

TISSUE_HU = (-20.0, 250.0)
"""Densities taken for parenchyma; leaves out fat, gas, bone and the arterial aorta."""
PARENCHYMA_MM = (4.0, 15.0)
"""Distance from the lesion of the ring taken for parenchyma; a capsule (1-3 mm) ends before it begins."""
BORDER_MM = 3.0
"""Width outside the lesion in which a capsule is looked for (1-3 mm, LI-RADS v2018)."""
RIM_DEPTH = 0.35
"""The rim reaches from the edge to this fraction of the greatest depth of the lesion."""
CORE_DEPTH = 0.5
"""The core begins at this fraction of the greatest depth of the lesion."""
SMOOTHED_MM = 2.0
"""Standard deviation of the smoothing before heterogeneity is measured: below a nodule, above the grain of noise."""
PROFILE_BANDS = 5
"""Bands of equal relative depth whose medians make the profile from edge to core."""
MIN_PIXELS = 12
"""Fewer pixels than this give no robust median."""
_WITH_CORNERS = np.ones((3, 3))
"""Pixels that touch by a corner are connected."""
_REACH = 4.0
"""Standard deviations at which the smoothing ends."""

Pixels = NDArray[np.bool_]


@dataclass(frozen=True)
class SliceMeasures:
    """Measures of one slice; contrast is the difference to the parenchyma around the lesion in the same slice.

    The slice has no mask of the organ, so the parenchyma is the ring of PARENCHYMA_MM around all tumour of the
    slice, limited to TISSUE_HU; its median stands for the organ, as in the reading of lesion against "adjacent
    parenchyma" of LI-RADS v2018.
    """

    lesion_hu: float
    parenchyma_hu: float
    contrast_hu: float
    """Lesion minus parenchyma: above zero hyperenhancing, below zero hypoenhancing."""
    core_contrast_hu: float
    """Core minus parenchyma."""
    rim_minus_core_hu: float
    """Rim minus core: above zero where the edge enhances most (targetoid, LR-M of LI-RADS v2018)."""
    border_hu: float
    """BORDER_MM around the lesion minus the brighter of lesion and parenchyma: above zero for a bright capsule."""
    heterogeneity_hu: float
    """Robust spread of the lesion, smoothed over SMOOTHED_MM, about the median of its depth: nodules that differ from
    one another (mosaic), apart from noise and from a rim or a core that differ as a whole."""
    diameter_mm: float
    """Greatest diameter (maximum Feret diameter) of the largest connected part."""
    circularity: float
    """4 pi area / perimeter^2 of the largest connected part; 1 for a disc, less for a lobulated outline."""


MEASURES = tuple(field.name for field in fields(SliceMeasures))


def measure_phase(slices: PhaseSlices) -> list[SliceMeasures]:
    """Measure every slice of a phase, in its order."""
    spacing = slices.spacing_mm
    return [
        measure_slice(crop, mask, spacing) for crop, mask in zip(slices.crops_hu, slices.masks, strict=True)
    ]


def measure_slice(crop_hu: NDArray[np.int16], mask: Pixels, spacing_mm: tuple[float, float]) -> SliceMeasures:
    """Measure one slice.

    Args:
        crop_hu: int16 (height, width).
        mask: bool (height, width), all tumour of the slice.
        spacing_mm: (row, column) pixel spacing.
    """
    if not mask.any():
        return SliceMeasures(**dict.fromkeys(MEASURES, np.nan))
    surroundings = _around(mask, [PARENCHYMA_MM[1] / spacing for spacing in spacing_mm])
    lesion_hu, parenchyma_hu, border_hu = _densities(crop_hu[surroundings], mask[surroundings], spacing_mm)
    # The smoothing reaches no further; the margin of the crop itself ends it earlier.
    lesion = _around(mask, [_REACH * SMOOTHED_MM / spacing for spacing in spacing_mm])
    crop_hu, mask = crop_hu[lesion], mask[lesion]
    depth = _relative_depth(mask, spacing_mm)
    core_hu = _median(crop_hu, depth > CORE_DEPTH)
    rim_hu = _median(crop_hu, mask & (depth <= RIM_DEPTH))
    diameter, circularity = _outline(mask, spacing_mm)
    return SliceMeasures(
        lesion_hu=lesion_hu,
        parenchyma_hu=parenchyma_hu,
        contrast_hu=lesion_hu - parenchyma_hu,
        core_contrast_hu=core_hu - parenchyma_hu,
        rim_minus_core_hu=rim_hu - core_hu,
        border_hu=border_hu - max(rim_hu, parenchyma_hu),
        heterogeneity_hu=_heterogeneity(crop_hu, mask, depth, spacing_mm),
        diameter_mm=diameter,
        circularity=circularity,
    )


def _around(mask: Pixels, margins: Sequence[float]) -> tuple[slice, ...]:
    """Return the window of the tumour and of so many pixels around it (row, column), as far as the crop goes."""
    window = []
    for axis, margin in enumerate(margins):
        occupied = np.flatnonzero(mask.any(axis=1 - axis))
        room = int(np.ceil(margin)) + 1
        window.append(slice(max(0, occupied[0] - room), occupied[-1] + room + 1))
    return tuple(window)


def _densities(
    crop_hu: NDArray[np.int16], mask: Pixels, spacing_mm: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the median HU of the tumour, of the parenchyma around it, and of its border."""
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    is_tissue = (crop_hu > TISSUE_HU[0]) & (crop_hu < TISSUE_HU[1])
    ring = is_tissue & (outside >= PARENCHYMA_MM[0]) & (outside <= PARENCHYMA_MM[1])
    border = is_tissue & (outside > 0) & (outside <= BORDER_MM)
    return _median(crop_hu, mask), _median(crop_hu, ring), _median(crop_hu, border)


def _relative_depth(mask: Pixels, spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Return the depth below the edge as a fraction of the greatest depth of the same connected part."""
    # A border of background: the edge of the crop is no edge of the lesion, but without it a lesion that fills
    # the crop would have no edge at all.
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1]
    parts, n = ndimage.label(mask)
    greatest = np.zeros(n + 1)
    np.maximum.at(greatest, parts, depth)
    greatest[0] = 1.0
    relative: NDArray[np.float64] = depth / greatest[parts]
    return relative


def _heterogeneity(
    crop_hu: NDArray[np.int16], mask: Pixels, depth: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> float:
    """Return the spread of the smoothed lesion about its profile from edge to core; see SliceMeasures."""
    sigma = [SMOOTHED_MM / spacing for spacing in spacing_mm]
    # What lies outside of the lesion does not bleed in.
    both = np.stack([mask, np.where(mask, crop_hu, 0)]).astype(np.float64)
    weight, weighted = ndimage.gaussian_filter(both, sigma, truncate=_REACH, axes=(1, 2))[:, mask]
    smooth = weighted / weight
    band = np.minimum((depth[mask] * PROFILE_BANDS).astype(np.intp), PROFILE_BANDS - 1)
    profile = ndimage.median(smooth, band, np.arange(PROFILE_BANDS))
    return _spread(smooth - profile[band])


def _outline(mask: Pixels, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return the greatest diameter and the circularity of the largest connected part, its holes filled."""
    parts, _ = ndimage.label(mask, _WITH_CORNERS)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if sizes.max() < MIN_PIXELS:
        return float("nan"), float("nan")
    part = np.pad(parts == sizes.argmax(), 1)
    # With a margin all around, what lies outside is the background that is counted first.
    part = ndimage.label(~part, _WITH_CORNERS)[0] != 1
    area = part.sum() * np.prod(spacing_mm)
    # Crofton's formula undershoots a little on small discs: no outline is rounder than a circle.
    circularity = min(1.0, 4 * np.pi * area / _perimeter(part, spacing_mm) ** 2)
    return greatest_diameter_mm(part, spacing_mm), float(circularity)


def _perimeter(mask: Pixels, spacing_mm: tuple[float, float]) -> float:
    """Return the length of the outline; scikit-image measures in pixels, which are square in CT."""
    return float(perimeter_crofton(mask, directions=4) * np.sqrt(spacing_mm[0] * spacing_mm[1]))


def _median(values: NDArray[np.int16], where: Pixels) -> float:
    """Return the median of the chosen pixels; numpy's is as slow for a few as for thousands."""
    ordered = np.sort(values[where])
    n = len(ordered)
    return float(ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2) if n >= MIN_PIXELS else float("nan")


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation that a normal distribution with this interquartile range would have."""
    if len(values) < MIN_PIXELS:
        return float("nan")
    low, high = np.percentile(values, (25, 75))
    return float(high - low) / 1.349
