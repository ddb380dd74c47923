"""Does the liver look as it should in the phase that a scan is said to be?

Median HU of the liver in three public multiphasic data sets (MCT-LTDiag, WAW-TACE, PLC-CECT): 46 to 54 without
contrast, 56 to 72 arterial, 88 to 104 portal venous, 82 to 92 delayed. Portal venous and delayed are compatible
with each other, and an arterial scan can be early or late, so only an order that no timing explains is told, and
only as a warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from extract.masks import Lesions, read_lesions
from extract.volumes import VolumeError, VolumeFile
from pipeline.cohort import Scan

NON_CONTRAST, ARTERIAL, PORTAL, DELAYED = "NC", "AP", "PVP", "DP"
MARGIN_HU = 8.0
"""Differences below this are noise, timing and table position."""
_AT_LEAST_VOXELS = 200
_LATER = ((NON_CONTRAST, ARTERIAL), (NON_CONTRAST, PORTAL), (NON_CONTRAST, DELAYED), (ARTERIAL, PORTAL))
"""(a, b): the liver is not brighter in a than in b."""


@dataclass(frozen=True)
class Enhancement:
    """Mean HU of the liver outside of lesions."""

    liver_hu: float


def enhancement(scan: Scan, image: VolumeFile, hu: NDArray[np.int16], lesions: Lesions) -> Enhancement | None:
    """Measure the lesion-free liver; None where no liver mask is given, readable or large enough."""
    if scan.liver_mask is None:
        return None
    try:
        liver = read_lesions((("liver", scan.liver_mask),), scan, image)
    except VolumeError:
        return None  # a missing liver mask is no fault of the scan; the check says that the order is unknown
    inside = np.zeros(image.grid.shape, dtype=np.bool_)
    inside[_box(liver)] = ndimage.binary_erosion(liver.number > 0)
    inside[_box(lesions)] &= lesions.number == 0
    values = hu[inside]
    return Enhancement(float(np.median(values))) if len(values) >= _AT_LEAST_VOXELS else None


def implausible_order(found: Mapping[tuple[str, str], Enhancement]) -> Mapping[tuple[str, str], str]:
    """Find pairs of phases of one patient whose livers enhance in an order that no timing explains.

    Args:
        found: (patient_id, phase) -> enhancement.

    Returns:
        (patient_id, phase) -> what is odd, for both phases of each such pair.
    """
    odd: dict[tuple[str, str], str] = {}
    for patient_id in dict.fromkeys(patient_id for patient_id, _ in found):
        for early, late in _LATER:
            a, b = found.get((patient_id, early)), found.get((patient_id, late))
            if a and b and a.liver_hu > b.liver_hu + MARGIN_HU:
                reason = (
                    f"the liver is brighter in {early} ({a.liver_hu:.0f} HU) than in {late} ({b.liver_hu:.0f} HU): are "
                    "the phases mixed up?"
                )
                odd.setdefault((patient_id, early), reason)
                odd.setdefault((patient_id, late), reason)
    return odd


def _box(lesions: Lesions) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(lesions.start, lesions.number.shape, strict=True))
