"""The part of a scan that its radiomics are computed from, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.masks import Lesions
from extract.radiomics_settings import LARGEST, RIM, RadiomicsSection

_MARGIN = 4
"""Resampled voxels around the regions that smoothing and resampling look at."""
_PEAK_MM = 7.0
"""Beyond the radius of the sphere of 1 ml, which a local intensity is the mean of."""


@dataclass(frozen=True, eq=False)
class ScanBox:
    """A part of a scan around its lesions, in display order (z, row, column).

    Attributes:
        hu: int16 (z, rows, columns).
        lesion: bool, the same shape: whose features are wanted.
        tumour: bool, the same shape: all lesions, which no rim covers.
        spacing_mm: of the voxels, along z, rows and columns.
    """

    hu: NDArray[np.int16]
    lesion: NDArray[np.bool_]
    tumour: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Radiomics:
    """The features of one scan.

    Attributes:
        values: region and name, as in `lesion.stat_mean` -> value, NaN where it cannot be had.
        remarks: what could not be computed and why, and what MIRP warned of.
    """

    values: Mapping[str, float]
    remarks: tuple[str, ...] = ()


def margin_mm(settings: RadiomicsSection, spacing_mm: Sequence[float]) -> float:
    """Return how far around the lesions a scan of some spacing is needed."""
    step = settings.spacing_mm if isinstance(settings.spacing_mm, float) else max(spacing_mm)
    peak = _PEAK_MM if "local_intensity" in settings.families else 0.0
    return max(settings.rim_mm if RIM in settings.regions else 0.0, peak) + _MARGIN * step


def planes_needed(
    lesions: Lesions, settings: RadiomicsSection, spacing_mm: Sequence[float], n_planes: int
) -> tuple[int, int]:
    """Return the first slice of an image that is needed, and the one after the last."""
    reach = int(np.ceil(margin_mm(settings, spacing_mm) / spacing_mm[0]))
    first, n = lesions.start[0], len(lesions.number)
    return max(0, first - reach), min(n_planes, first + n + reach)


def box_of_lesions(
    planes_hu: NDArray[np.int16],
    first: int,
    lesions: Lesions,
    settings: RadiomicsSection,
    spacing_mm: tuple[float, float, float],
) -> ScanBox:
    """Cut the box of the wanted lesions, with its margin, out of decoded slices.

    Args:
        planes_hu: int16 (n, rows, columns), whole slices.
        first: index of the first of them in the image.
        lesions: of the scan, on its grid.
        settings: which lesions, and how far around them.
        spacing_mm: of the image, along z, rows and columns.
    """
    number = _on_planes(lesions, first, planes_hu.shape)
    wanted = number > 0 if settings.lesions != LARGEST else number == np.bincount(number[number > 0]).argmax()
    margin = margin_mm(settings, spacing_mm)
    box = []
    for axis, step in enumerate(spacing_mm):
        occupied = np.flatnonzero(wanted.any(axis=tuple(other for other in range(3) if other != axis)))
        room = int(np.ceil(margin / step))
        box.append(slice(max(0, int(occupied[0]) - room), int(occupied[-1]) + room + 1))
    window = tuple(box)
    return ScanBox(planes_hu[window].copy(), wanted[window], number[window] > 0, spacing_mm)


def _on_planes(lesions: Lesions, first: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Return the numbers of the lesions on whole slices, which hold all of them."""
    number = np.zeros(shape, dtype=np.int16)
    where = tuple(
        slice(start - offset, start - offset + n)
        for start, offset, n in zip(lesions.start, (first, 0, 0), lesions.number.shape, strict=True)
    )
    number[where] = lesions.number
    return number
