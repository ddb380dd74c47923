"""Check that the enhancement of the liver fits the phase of a scan.

Median HU of the liver in three public multiphasic data sets (MCT-LTDiag, WAW-TACE, PLC-CECT): 46 to 54 without
contrast, 56 to 72 arterial, 88 to 104 portal venous, 82 to 92 delayed. Portal venous and delayed are compatible
with each other, and an arterial scan can be early or late, so only an order that no timing explains is reported, and
only as a warning.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from extract.mask_values import PLAIN, MaskRule
from extract.masks import Lesions, read_organ
from extract.plausibility import check_share
from extract.volumes import VolumeFile
from pipeline.cohort import Cohort, Scan
from pipeline.phase_roles import PhaseRoles

MARGIN_HU = 8.0
"""Differences below this are noise, timing and table position."""
_AT_LEAST_VOXELS = 200
_IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]
"""The border of the mask is left out within each slice, so that a few slices do as well as all."""


def measure_liver(
    scan: Scan,
    image: VolumeFile,
    hu: NDArray[np.int16],
    index: NDArray[np.intp],
    lesions: Lesions | None,
    *,
    rule: MaskRule = PLAIN,
) -> float | None:
    """Return the median HU of the liver outside of lesions; None where no mask is given or large enough.

    Args:
        scan: names the liver mask.
        image: the grid of the scan.
        hu: int16 (n, rows, columns), whole slices.
        index: intp (n,), which slices of the image they are, ascending.
        lesions: to be left out; None where the region of the scan is no lesion.
        rule: what is known about the values of liver masks.

    Raises:
        VolumeError: the mask cannot be read, or holds too much of the body.
    """
    if scan.liver_mask is None:
        return None
    liver = read_organ(scan.liver_mask, scan, image, index, rule)
    check_share(scan.liver_mask, liver, hu, "organ")
    inside = ndimage.binary_erosion(liver, structure=_IN_PLANE)
    if lesions is not None:
        _leave_out(inside, index, lesions)
    values = hu[inside]
    return float(np.median(values)) if len(values) >= _AT_LEAST_VOXELS else None


def implausible_order(
    liver_hu: Mapping[tuple[str, str], float], roles: PhaseRoles
) -> Mapping[tuple[str, str], str]:
    """Find pairs of phases of one patient whose livers enhance in an order that no timing explains.

    Args:
        liver_hu: (patient_id, phase) -> median HU of the liver.
        roles: which phase is which; one without a role is compared with none.

    Returns:
        (patient_id, phase) -> what is odd, for both phases of each such pair.
    """
    odd: dict[tuple[str, str], str] = {}
    for patient_id in dict.fromkeys(patient_id for patient_id, _ in liver_hu):
        for early, late in _ordered_pairs(roles):
            a, b = liver_hu.get((patient_id, early)), liver_hu.get((patient_id, late))
            if a is not None and b is not None and a > b + MARGIN_HU:
                reason = (
                    f"the liver is brighter in {early} ({a:.0f} HU) than in {late} ({b:.0f} HU): are "
                    "the phases mixed up?"
                )
                odd.setdefault((patient_id, early), reason)
                odd.setdefault((patient_id, late), reason)
    return odd


def _ordered_pairs(roles: PhaseRoles) -> list[tuple[str, str]]:
    """Return pairs (a, b) of phases of which the liver is not brighter in a than in b."""
    pairs = (
        (roles.non_contrast, roles.arterial),
        (roles.non_contrast, roles.portal),
        (roles.non_contrast, roles.delayed),
        (roles.arterial, roles.portal),
    )
    return [(early, late) for early, late in pairs if early is not None and late is not None]


def order_not_checked(cohort: Cohort, roles: PhaseRoles) -> str | None:
    """Return a warning about phases with liver masks but no role, whose order cannot be checked; None without any."""
    with_liver = {
        phase: None for patient in cohort.patients for phase, scan in patient.scans.items() if scan.liver_mask
    }
    unknown = roles.without_role(with_liver)
    if not unknown:
        return None
    return (
        f"the order of the phases is not checked for {', '.join(unknown)}: say in [cohort.phase_roles] which phase is "
        "non_contrast, arterial, portal and delayed"
    )


def _leave_out(inside: NDArray[np.bool_], index: NDArray[np.intp], lesions: Lesions) -> None:
    first, row, column = lesions.start
    n, height, width = lesions.number.shape
    for plane, z in zip(inside, index - first, strict=True):
        if 0 <= z < n:
            plane[row : row + height, column : column + width] &= lesions.number[z] == 0
