"""Check that an image can be a body CT in Hounsfield units, and a mask a structure in it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.volumes import PADDING_HU, VolumeError, VolumeFile

SPACING_MM = (0.3, 10.0)
"""Distances between voxels that a body CT can have."""
_ROUNDING_MM = 1e-4
"""Headers hold float32."""
BODY_HU = -300.0
"""The body is above this, apart from gas in it; air and the padding of the table are below."""
HIGHEST_FIRST_PERCENTILE_HU = -50.0
"""Every CT slice holds air or fat: its lowest hundredth is below. MR and windowed 8-bit images hold none."""
LOWEST_LAST_PERCENTILE_HU = 0.0
"""Every slice holds soft tissue or bone: its highest hundredth is above, unless an intercept was applied twice."""
HIGHEST_OF_BODY_HU = 700.0
"""Nine tenths of the body lie below, contrast medium in the heart included (512 in a CT angiography); air and
tissue that lack their intercept of -1024 lie above."""
ORGAN_HU = (-100.0, 300.0)
"""The median of a liver lies within, from severe steatosis to iron and contrast medium."""
MASKED_AIR_HU = -950
"""Air of a scanner and padding are below; the least dense lesions, ground glass in a lung, are above -800."""
LARGEST_SHARE = {"tumour": 0.5, "organ": 0.9}
"""Of the body on the slices of a mask. A liver fills 28 % of a whole slice and 56 % of one cropped to the liver."""


def check_spacing(image: VolumeFile) -> None:
    """Refuse a header whose voxels are too small or too large for a body CT.

    Raises:
        VolumeError: a distance between voxels is out of range.
    """
    low, high = SPACING_MM
    if not all(low - _ROUNDING_MM <= mm <= high + _ROUNDING_MM for mm in image.grid.spacing_mm):
        found = " x ".join(f"{mm:.3g}" for mm in reversed(image.grid.spacing_mm))
        raise VolumeError(
            f"{image.path}: expected a spacing of {low:g} to {high:g} mm, found {found} mm (x, y, z); set spacing_x, "
            "spacing_y, spacing_z in the cohort table if the header is wrong"
        )


def check_hounsfield(path: Path, planes_hu: NDArray[np.float32]) -> None:
    """Refuse voxels that cannot be CT in Hounsfield units; padding does not count.

    Args:
        path: of the image, for the message.
        planes_hu: float32, any number of voxels, not cut off at the HU of air.

    Raises:
        VolumeError: too high for air or fat, or too low for soft tissue, or nothing but padding.
    """
    sample = planes_hu[planes_hu > PADDING_HU]
    if not len(sample):
        raise VolumeError(f"{path}: expected CT in HU, found nothing above {PADDING_HU} HU; {_WHAT_TO_DO}")
    low, high = np.percentile(sample, (1, 99))
    body = sample[sample > BODY_HU]
    of_body = float(np.percentile(body, 90)) if len(body) else high
    found = f"found voxels from {low:.0f} to {high:.0f} (1st to 99th percentile)"
    if low > HIGHEST_FIRST_PERCENTILE_HU:
        raise VolumeError(
            f"{path}: expected CT in HU, with air or fat below {HIGHEST_FIRST_PERCENTILE_HU:.0f} HU on every slice; "
            f"{found}: an MR, a windowed export, or {_WHAT_TO_DO}"
        )
    if high < LOWEST_LAST_PERCENTILE_HU:
        raise VolumeError(
            f"{path}: expected CT in HU, with soft tissue above {LOWEST_LAST_PERCENTILE_HU:.0f} HU on every slice; {found}: "
            f"an intercept applied twice, or {_WHAT_TO_DO}"
        )
    if of_body > HIGHEST_OF_BODY_HU:
        raise VolumeError(
            f"{path}: expected CT in HU, with most of the body below {HIGHEST_OF_BODY_HU:.0f} HU; {found}, and a tenth of "
            f"the body above {of_body:.0f}: {_WHAT_TO_DO}"
        )


_WHAT_TO_DO = "a missing rescale (set hu_slope and hu_intercept in the cohort table)"


def check_organ_hu(path: Path, organ_hu: float) -> None:
    """Refuse an organ mask whose median HU no liver has.

    Raises:
        VolumeError: its median is too low or too high.
    """
    low, high = ORGAN_HU
    if not low <= organ_hu <= high:
        raise VolumeError(
            f"{path}: expected {low:.0f} to {high:.0f} HU in the mask of the organ, found a median of {organ_hu:.0f} HU: "
            "the mask of another scan, or voxels that are not in HU (set hu_slope and hu_intercept in the cohort table)"
        )


def check_share(path: Path, inside: NDArray[np.bool_], planes_hu: NDArray[np.int16], structure: str) -> None:
    """Refuse a mask that holds more of the body than a tumour or an organ can.

    Args:
        path: of the mask, for the message.
        inside: bool (z, rows, columns), the structure on whole slices.
        planes_hu: int16 of the same shape.
        structure: `tumour` or `organ`.

    Raises:
        VolumeError: it holds too much of the body on its slices.
    """
    on_slice = inside.any(axis=(1, 2))
    inside, body = inside[on_slice], planes_hu[on_slice] > BODY_HU
    n_inside = int(np.count_nonzero(inside))
    share = n_inside / max(1, int(np.count_nonzero(body | inside)))
    if share > LARGEST_SHARE[structure]:
        raise VolumeError(
            f"{path}: expected a mask of the {structure}, with at most {LARGEST_SHARE[structure]:.0%} of the body on its "
            f"slices; found {share:.0%}: a mask of the body, or an inverted one?"
        )


def check_not_air(path: Path, inside: NDArray[np.bool_], planes_hu: NDArray[np.int16], first: int) -> None:
    """Refuse slices on which most of the mask shows air or padding, as blank slices of a damaged export do.

    Args:
        path: of the mask.
        inside: bool (n, rows, columns), the mask on whole slices.
        planes_hu: int16 (n, rows, columns), the same slices.
        first: number of the first of them in the image, from 0.

    Raises:
        VolumeError: the slices are named, numbered from 1 as in a viewer.
    """
    pixels = np.count_nonzero(inside, axis=(1, 2))
    of_air = np.count_nonzero(inside & (planes_hu <= MASKED_AIR_HU), axis=(1, 2))
    blank = np.flatnonzero((pixels > 0) & (2 * of_air > pixels)) + first + 1
    if len(blank):
        shown = ", ".join(map(str, blank[:5])) + (" ..." if len(blank) > 5 else "")
        raise VolumeError(
            f"{path}: expected tissue under the mask, found air or padding (at most {MASKED_AIR_HU} HU) on {len(blank)} "
            f"slices: {shown}"
        )
