"""What a radiologist would measure on one slice: density, rim and core, border, texture, size and outline.

All densities are robust medians in Hounsfield units. A measure that the slice cannot give (a lesion of a few
pixels has no core) is NaN, never zero.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import pdist
from skimage.measure import label, perimeter_crofton, regionprops

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
    crop_hu, mask = _around(crop_hu, mask, spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    depth = _relative_depth(mask, spacing_mm)
    is_tissue = (crop_hu > TISSUE_HU[0]) & (crop_hu < TISSUE_HU[1])
    ring = is_tissue & (outside >= PARENCHYMA_MM[0]) & (outside <= PARENCHYMA_MM[1])
    border = is_tissue & (outside > 0) & (outside <= BORDER_MM)
    lesion_hu, parenchyma_hu = _median(crop_hu, mask), _median(crop_hu, ring)
    core_hu = _median(crop_hu, depth > CORE_DEPTH)
    rim_hu = _median(crop_hu, mask & (depth <= RIM_DEPTH))
    diameter, circularity = _outline(mask, spacing_mm)
    return SliceMeasures(
        lesion_hu=lesion_hu,
        parenchyma_hu=parenchyma_hu,
        contrast_hu=lesion_hu - parenchyma_hu,
        core_contrast_hu=core_hu - parenchyma_hu,
        rim_minus_core_hu=rim_hu - core_hu,
        border_hu=_median(crop_hu, border) - max(rim_hu, parenchyma_hu),
        heterogeneity_hu=_heterogeneity(crop_hu, mask, depth, spacing_mm),
        diameter_mm=diameter,
        circularity=circularity,
    )


def _around(
    crop_hu: NDArray[np.int16], mask: Pixels, spacing_mm: tuple[float, float]
) -> tuple[NDArray[np.int16], Pixels]:
    """Cut to the tumour and the ring around it; distances further out are never looked at."""
    window = []
    for axis, spacing in enumerate(spacing_mm):
        margin = int(np.ceil(PARENCHYMA_MM[1] / spacing)) + 1
        occupied = np.flatnonzero(mask.any(axis=1 - axis))
        window.append(slice(max(0, occupied[0] - margin), occupied[-1] + margin + 1))
    return crop_hu[tuple(window)], mask[tuple(window)]


def _relative_depth(mask: Pixels, spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Return the depth below the edge as a fraction of the greatest depth of the same connected part."""
    # A border of background: the edge of the crop is no edge of the lesion, but without it a lesion that fills
    # the crop would have no edge at all.
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1]
    parts, n = ndimage.label(mask)
    greatest = np.concatenate([[1.0], np.atleast_1d(ndimage.maximum(depth, parts, np.arange(1, n + 1)))])
    relative: NDArray[np.float64] = depth / greatest[parts]
    return relative


def _heterogeneity(
    crop_hu: NDArray[np.int16], mask: Pixels, depth: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> float:
    """Return the spread of the smoothed lesion about its profile from edge to core; see SliceMeasures."""
    sigma = [SMOOTHED_MM / spacing for spacing in spacing_mm]
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sigma)
    # What lies outside of the lesion does not bleed in.
    smooth = (
        ndimage.gaussian_filter(np.where(mask, crop_hu, 0).astype(np.float64), sigma)[mask] / weight[mask]
    )
    band = np.minimum((depth[mask] * PROFILE_BANDS).astype(np.intp), PROFILE_BANDS - 1)
    profile = ndimage.median(smooth, band, np.arange(PROFILE_BANDS))
    return _spread(smooth - profile[band])


def _outline(mask: Pixels, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return the greatest diameter and the circularity of the largest connected part."""
    parts = regionprops(label(mask), spacing=spacing_mm)
    largest = max(parts, key=lambda part: part.num_pixels)
    if largest.num_pixels < MIN_PIXELS:
        return float("nan"), float("nan")
    perimeter = _perimeter(np.pad(largest.image_filled, 1), spacing_mm)
    # Crofton's formula undershoots a little on small discs: no outline is rounder than a circle.
    circularity = min(1.0, 4 * np.pi * largest.area_filled / perimeter**2)
    return _greatest_diameter_mm(largest.image_filled, spacing_mm), float(circularity)


def _greatest_diameter_mm(part: Pixels, spacing_mm: tuple[float, float]) -> float:
    """Return the greatest distance between two points of the outline (Feret's diameter).

    The outline runs half a pixel around the pixels' centres. Only the ends of each row can be the two points;
    scikit-image draws the convex hull as an image first, which takes ten times longer.
    """
    rows = np.flatnonzero(part.any(axis=1))
    first = part[rows].argmax(axis=1)
    last = part.shape[1] - 1 - part[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, columns], axis=1) for columns in (first, last)])
    around = np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]])
    points = (ends[:, None] + around).reshape(-1, 2) * spacing_mm
    return float(pdist(points).max())


def _perimeter(mask: Pixels, spacing_mm: tuple[float, float]) -> float:
    """Return the length of the outline; scikit-image measures in pixels, which are square in CT."""
    return float(perimeter_crofton(mask, directions=4) * np.sqrt(spacing_mm[0] * spacing_mm[1]))


def _median(values: NDArray[Any], where: Pixels) -> float:
    return float(np.median(values[where])) if where.sum() >= MIN_PIXELS else float("nan")


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation that a normal distribution with this interquartile range would have."""
    if len(values) < MIN_PIXELS:
        return float("nan")
    low, high = np.percentile(values, (25, 75))
    return float(high - low) / 1.349
