"""From one scan to its tumour slices: crops in HU around the tumour."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.masks import Lesions, areas_mm2, read_lesions
from extract.volumes import AIR_HU, VolumeError, VolumeFile, open_volume
from pipeline.bags import Source
from pipeline.cohort import Scan
from pipeline.errors import ImageError, MaskError
from pipeline.slices import PhaseSlices

HIGHEST_FIRST_PERCENTILE_HU = -50.0
"""Every CT slice holds air or fat: its lowest hundredth is below. MR and windowed 8-bit images hold none."""


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 of the files behind one scan."""

    image: str
    mask: str


def prepare_scan(scan: Scan, fingerprint: Fingerprint, crop_mm: float) -> PhaseSlices:
    """Read a scan and cut out every slice in which its mask has tumour.

    Args:
        scan: one row of the cohort table.
        fingerprint: hashes of its files.
        crop_mm: side of the square around the tumour.

    Raises:
        ImageError: the image is missing, damaged or not in HU.
        MaskError: the mask is missing, damaged, empty or outside of the image.
    """
    who = {"patient_id": scan.patient_id, "phase": scan.phase}
    try:
        image = open_volume(scan.image, scan.overrides)
    except VolumeError as error:
        raise ImageError(str(error), **who) from error
    if not scan.masks:
        raise MaskError(f"the mask cell of line {scan.line} is empty; expected a mask of the tumour", **who)
    try:
        lesions = read_lesions(scan, image)
    except VolumeError as error:
        raise MaskError(str(error), **who) from error
    first = lesions.start[0]
    try:
        planes_hu = image.read_hu(first, first + len(lesions.number))
        check_hounsfield(image.path, planes_hu)
    except VolumeError as error:
        raise ImageError(str(error), **who) from error
    return _cut(_Read(scan, fingerprint, image, lesions, planes_hu), crop_mm)


def check_hounsfield(path: Path, planes_hu: NDArray[np.int16]) -> None:
    """Refuse voxels that cannot be CT in Hounsfield units.

    Raises:
        VolumeError: the lowest hundredth of the voxels is too high for air or fat.
    """
    every = max(1, planes_hu.size // 1_000_000)
    low, high = np.percentile(planes_hu.reshape(-1)[::every], (1, 99))
    if low > HIGHEST_FIRST_PERCENTILE_HU:
        raise VolumeError(
            f"{path}: expected CT in HU, with air or fat below {HIGHEST_FIRST_PERCENTILE_HU:.0f} HU on every slice; "
            f"found voxels from {low:.0f} to {high:.0f} (1st to 99th percentile): an MR, a windowed export, or a "
            "missing rescale (set hu_slope and hu_intercept in the cohort table)"
        )


@dataclass(frozen=True, eq=False)
class _Read:
    """A scan with its voxels."""

    scan: Scan
    fingerprint: Fingerprint
    image: VolumeFile
    lesions: Lesions
    planes_hu: NDArray[np.int16]
    """The slices of the lesions' box, whole."""


def _cut(read: _Read, crop_mm: float) -> PhaseSlices:
    image, lesions = read.image, read.lesions
    areas = areas_mm2(lesions, image.grid.spacing_mm)
    chosen = np.flatnonzero(areas)
    _, row_mm, column_mm = image.grid.spacing_mm
    size = (max(1, round(crop_mm / row_mm)), max(1, round(crop_mm / column_mm)))
    crops = np.full((len(chosen), *size), AIR_HU, dtype=np.int16)
    masks = np.zeros(crops.shape, dtype=np.bool_)
    largest = np.empty(len(chosen), dtype=np.int16)
    for i, z in enumerate(chosen):
        numbers = lesions.number[z]
        largest[i] = np.bincount(numbers[numbers > 0]).argmax()
        corner = _corner(numbers == largest[i], size)
        _copy_overlap(numbers > 0, corner, masks[i])
        _copy_overlap(read.planes_hu[z], corner + np.array(lesions.start[1:]), crops[i])
    index = lesions.start[0] + chosen
    z_mm, row_and_column = image.grid.z_mm(), (row_mm, column_mm)
    return PhaseSlices(
        phase=read.scan.phase,
        crops_hu=crops,
        masks=masks,
        spacing_mm=row_and_column,
        slice_index=index.astype(np.int32),
        z_mm=z_mm[index],
        tumour_area_mm2=areas[chosen],
        lesion=largest,
        source=Source(
            file=read.scan.image.name,
            image_sha256=read.fingerprint.image,
            mask_sha256=read.fingerprint.mask,
            mask_source="drawn",
            spacing_mm=(column_mm, row_mm, image.grid.spacing_mm[0]),
            n_slices=image.grid.shape[0],
        ),
    )


def _corner(lesion: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.intp]:
    """Return the first row and column of a square of `size` pixels around the middle of a lesion's box."""
    rows, columns = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    middle: NDArray[np.intp] = np.array([(rows[0] + rows[-1] + 1) // 2, (columns[0] + columns[-1] + 1) // 2])
    corner: NDArray[np.intp] = middle - np.array(size) // 2
    return corner


def _copy_overlap(plane: NDArray[np.generic], corner: NDArray[np.intp], out: NDArray[np.generic]) -> None:
    """Copy what a plane holds of the rectangle at `corner` into `out`; the rest of `out` stays."""
    low = np.maximum(corner, 0)
    high = np.minimum(corner + out.shape, plane.shape)
    if (low < high).all():
        to = low - corner, high - corner
        out[to[0][0] : to[1][0], to[0][1] : to[1][1]] = plane[low[0] : high[0], low[1] : high[1]]
