"""How the slices of a series lie in the patient, and which faults make them no volume.

Slices are sorted by their position along the normal of the image plane. Names of files and instance numbers tell nothing:
scanners count from either end, and archives rename.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.dicom.headers import ImageHeader
from extract.volumes import GRID_TOLERANCE
from pipeline.errors import PhasemilError

SAME_PLACE_MM = 0.01
"""Slices that lie closer are at one position."""
PLANES = ("sagittal", "coronal", "axial")
"""Names of the planes by the axis of LPS that their normal is nearest to."""
_MISSING = 1.5
"""A gap of more than this many spacings lacks a slice."""
_RAS = np.diag([-1.0, -1.0, 1.0])


class SeriesError(PhasemilError, ValueError):
    """A series is no volume; the message repeats no text of a header."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices that make a volume.

    Attributes:
        slices: from inferior to superior.
        affine: float64 (4, 4), from (column, row, slice, 1) to RAS+ millimetres.
        spacing_mm: distance of the slice planes.
        oblique_degrees: angle of the slices to the axial plane.
    """

    slices: tuple[ImageHeader, ...]
    affine: NDArray[np.float64]
    spacing_mm: float
    oblique_degrees: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        rows, columns = self.slices[0].shape
        return columns, rows, len(self.slices)


def plane_of(header: ImageHeader) -> str | None:
    """Return the plane of an image by its orientation: axial, coronal or sagittal; None where it has no position.

    Raises:
        SeriesError: rows and columns are not at right angles.
    """
    if header.orientation is None or header.position_mm is None:
        return None
    return PLANES[int(np.abs(normal_of(header)).argmax())]


def normal_of(header: ImageHeader) -> NDArray[np.float64]:
    """Return float64 (3,): the unit normal of an image in LPS, with its largest part positive.

    Raises:
        SeriesError: rows and columns are not at right angles.
    """
    cosines = np.array(header.orientation, dtype=np.float64).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-3):
        raise SeriesError("expected rows and columns at right angles, found other direction cosines")
    normal = np.cross(cosines[0], cosines[1])
    upwards: NDArray[np.float64] = normal * np.sign(normal[np.abs(normal).argmax()])
    return upwards


def along_normal_mm(headers: Sequence[ImageHeader]) -> NDArray[np.float64]:
    """Return float64 (n,): where slices of one orientation lie along their normal."""
    positions = np.array([header.position_mm for header in headers], dtype=np.float64)
    along: NDArray[np.float64] = positions @ normal_of(headers[0])
    return along


def stacked(headers: Sequence[ImageHeader]) -> Stack:
    """Sort slices of one orientation and grid, no two of them at one position, into a volume.

    Raises:
        SeriesError: slices are missing or lie at uneven distances, or the gantry was tilted.
    """
    if len(headers) < 2:
        raise SeriesError("expected at least two slices, found one")
    normal, along = normal_of(headers[0]), along_normal_mm(headers)
    order = np.argsort(along)
    slices = tuple(headers[i] for i in order)
    spacing_mm = _even_spacing_mm(along[order])
    positions = np.array([header.position_mm for header in slices], dtype=np.float64)
    step = _straight_step(positions, normal, slices[0])
    spacing = slices[0].pixel_spacing_mm
    if spacing is None or min(spacing) <= 0:
        raise SeriesError("expected the distance of its pixels, found none")
    cosines = np.array(slices[0].orientation, dtype=np.float64).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = _RAS @ cosines[0] * spacing[1]
    affine[:3, 1] = _RAS @ cosines[1] * spacing[0]
    affine[:3, 2] = _RAS @ step
    affine[:3, 3] = _RAS @ positions[0]
    oblique = float(np.degrees(np.arccos(min(1.0, float(np.abs(normal).max())))))
    return Stack(slices, affine, spacing_mm, oblique)


def _even_spacing_mm(along: NDArray[np.float64]) -> float:
    """Return the distance of sorted slices.

    Raises:
        SeriesError: one is missing, or one lies further from its place than the tolerance.
    """
    gaps = np.diff(along)
    spacing_mm = float(np.median(gaps))
    wide = np.flatnonzero(gaps > _MISSING * spacing_mm)
    if len(wide):
        n = int(np.rint(gaps[wide] / spacing_mm - 1).sum())
        more = f", and at {len(wide) - 1} further places" if len(wide) > 1 else ""
        raise SeriesError(
            f"expected slices {spacing_mm:g} mm apart, found none between {along[wide[0]]:.1f} and "
            f"{along[wide[0] + 1]:.1f} mm along the normal{more}: about {max(n, 1)} missing; export the series again"
        )
    even = np.linspace(along[0], along[-1], len(along))
    apart = np.abs(along - even)
    if apart.max() > GRID_TOLERANCE * spacing_mm:
        i = int(np.abs(gaps - spacing_mm).argmax())
        raise SeriesError(
            f"expected slices at even distances (within {GRID_TOLERANCE:.0%} of {spacing_mm:g} mm), found {gaps[i]:.2f} mm between "
            f"{along[i]:.1f} and {along[i + 1]:.1f} mm along the normal"
        )
    return float(even[1] - even[0])


def _straight_step(
    positions: NDArray[np.float64], normal: NDArray[np.float64], header: ImageHeader
) -> NDArray[np.float64]:
    """Return float64 (3,): the step from slice to slice.

    Raises:
        SeriesError: the slices are shifted against each other, evenly (a tilted gantry) or not.
    """
    relative = positions - positions[0]
    drift = relative - np.outer(relative @ normal, normal)
    allowed_mm = GRID_TOLERANCE * min(header.pixel_spacing_mm or (1.0,))
    step: NDArray[np.float64] = relative[-1] / (len(positions) - 1)
    if np.linalg.norm(drift, axis=1).max() <= allowed_mm:
        return step
    if np.abs(relative - np.outer(np.arange(len(positions)), step)).max() > allowed_mm:
        raise SeriesError(
            "expected slices one above the other, found some shifted against the others in their plane"
        )
    cosine = min(1.0, float(relative[-1] @ normal / np.linalg.norm(relative[-1])))
    raise SeriesError(
        f"the gantry was tilted by {np.degrees(np.arccos(cosine)):.1f} degrees, so that the slices are sheared against each "
        "other; export a straight reconstruction of it, or correct the tilt with a converter and import the NIfTI"
    )
