"""NIfTI, NRRD and MHA volumes, read slice by slice in the order in which radiologists look at them.

Display order is (z, row, column): z from inferior to superior, rows from anterior to posterior, columns from the
patient's right to left. Voxel grids carry an affine from these indices to RAS+ millimetres.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from extract.inflate import GzipDamage, inflate, is_compressed
from extract.itk_volumes import is_itk_file, read_itk_header, read_itk_voxels
from pipeline.errors import PhasemilError
from pipeline.files import check_regular
from pipeline.scan_cells import HeaderOverrides

AIR_HU = -1024
"""HU that replaces padding (-2048, -3024) and fills the outside of an image."""
PADDING_HU = -1500
"""Padding is below this: neither tissue nor air, written by scanners outside of their field of view."""
GRID_TOLERANCE = 0.1
"""Grids are the same when no corner lies further apart than this share of the smallest voxel side."""

_SAMPLE = 1_000_000

DISPLAY = nib.orientations.axcodes2ornt(("S", "P", "L"))


class VolumeError(PhasemilError, ValueError):
    """A file is missing, truncated or not a volume; the caller adds patient and phase."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions of the voxels of a volume in display order.

    Attributes:
        shape: (z, rows, columns).
        affine: (4, 4), from (z, row, column, 1) to RAS+ millimetres.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of the slice planes, and of voxel centres along rows and columns.

        With a gantry tilt the step from slice to slice is longer than the distance of their planes.
        """
        _, row, column = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        normal = np.cross(self.affine[:3, 1], self.affine[:3, 2]) / self.pixel_area_mm2
        return abs(float(normal @ self.affine[:3, 0])), row, column

    @property
    def pixel_area_mm2(self) -> float:
        """Area of a pixel in the plane of its slice; times the distance of planes it is the volume of a voxel."""
        return float(np.linalg.norm(np.cross(self.affine[:3, 1], self.affine[:3, 2])))

    @property
    def extent(self) -> str:
        """Range of the voxel centres in patient coordinates (RAS+), as text."""
        return _extent(self.affine, self.shape)

    def z_mm(self) -> NDArray[np.float32]:
        """Return float32 (z,): the patient coordinate of each slice's centre."""
        _, rows, columns = self.shape
        centre = self.affine[2] @ [0.0, (rows - 1) / 2, (columns - 1) / 2, 1.0]
        z_mm: NDArray[np.float32] = (centre + self.affine[2, 0] * np.arange(self.shape[0])).astype(np.float32)
        return z_mm

    def is_same_as(self, other: "Grid") -> bool:
        """Whether voxels of equal index lie at the same place, within the tolerance."""
        if self.shape != other.shape:
            return False
        apart = np.abs((self.affine - other.affine) @ _corners(self.shape)).max()
        return bool(apart <= GRID_TOLERANCE * min(self.spacing_mm))


@dataclass(frozen=True, eq=False)
class VolumeFile:
    """A file whose header has been read; voxels are read on demand.

    Attributes:
        path: the file.
        grid: of the voxels in display order, the overrides of the cohort table applied.
        stored_shape: (i, j, k) in the file, i fastest.
        stored_codes: orientation of the stored axes, such as "LPS".
        dtype: of the stored voxels.
        offset: of the first voxel, in bytes; None in a format that is read whole.
        slope: HU per stored unit.
        intercept: HU of stored 0.
        to_display: nibabel orientation that leads from stored to display order.
        header_affine: from the stored axes to RAS+ millimetres as the header alone says, without overrides.
        doubt: ambiguity in the header about the position of the volume; None if there is none.
    """

    path: Path
    grid: Grid
    stored_shape: tuple[int, int, int]
    stored_codes: str
    dtype: np.dtype[Any]
    offset: int | None
    slope: float
    intercept: float
    to_display: NDArray[np.float64]
    header_affine: NDArray[np.float64]
    doubt: str | None = None

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read slices start to stop (not included) in display order, as stored numbers.

        A compressed file is inflated up to the last of them and no further; its recorded length is checked.

        Raises:
            VolumeError: the file is truncated or damaged.
        """
        stop = self.grid.shape[0] if stop is None else stop
        if self.to_display[2, 0] != 0:  # z is not the slowest axis of the file
            return self._in_display_order(self._stored(0, self.stored_shape[2]))[start:stop]
        if self.to_display[2, 1] < 0:
            n = self.stored_shape[2]
            return self._in_display_order(self._stored(n - stop, n - start))
        return self._in_display_order(self._stored(start, stop))

    def sampled_hu(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return float32 HU of about a million of stored voxels (z, rows, columns), padding as it is."""
        every = max(1, int(np.ceil(np.sqrt(stored.size / _SAMPLE))))
        sample: NDArray[np.float32] = stored[:, ::every, ::every].astype(np.float32)
        return sample * np.float32(self.slope) + np.float32(self.intercept)

    def lowest_hu(self, stored: NDArray[Any]) -> float:
        """Return the lowest of stored voxels in HU, padding included."""
        ends = (float(stored.min()), float(stored.max()))
        return min(end * self.slope + self.intercept for end in ends)

    def true_values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return float64 values of stored numbers, slope and intercept applied; as they are where these do nothing."""
        if self.slope == 1 and self.intercept == 0:
            return stored
        return stored.astype(np.float64) * self.slope + self.intercept

    def to_hu(self, stored: NDArray[Any]) -> NDArray[np.int16]:
        """Turn stored numbers into int16 HU; padding below air becomes air.

        Raises:
            VolumeError: a voxel is not finite.
        """
        if stored.dtype.kind == "f" and not np.isfinite(stored).all():
            raise VolumeError(
                f"{self.path}: expected finite voxels, found {self._count_odd(stored)} NaN or infinite"
            )
        if self.slope != 1 or self.intercept != 0 or stored.dtype.kind == "f":
            stored = np.rint(stored.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept))
        hu: NDArray[np.int16] = np.clip(stored, AIR_HU, np.iinfo(np.int16).max).astype(np.int16)
        return hu

    @staticmethod
    def _count_odd(stored: NDArray[Any]) -> int:
        return int(np.size(stored) - np.isfinite(stored).sum())

    def _in_display_order(self, stored: NDArray[Any]) -> NDArray[Any]:
        view: NDArray[Any] = nib.apply_orientation(stored.T, self.to_display)
        return view

    def _stored(self, first: int, last: int) -> NDArray[Any]:
        """Read stored slices as (k, j, i)."""
        i, j, k = self.stored_shape
        if self.offset is None:
            return _read_whole(self.path).reshape(k, j, i)[first:last]
        slice_bytes = i * j * self.dtype.itemsize
        skip, wanted = self.offset + first * slice_bytes, (last - first) * slice_bytes
        whole = self.offset + k * slice_bytes
        # By content: the name may end in .GZ or .bz2.
        read = _inflate if is_compressed(self.path) else _read_plain
        return read(self.path, skip, wanted, whole).view(self.dtype).reshape(last - first, j, i)


@dataclass(frozen=True, eq=False)
class _Header:
    """What a file says of its voxels, whatever its format."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    doubt: str | None
    offset: int | None = None
    slope: float = 1.0
    intercept: float = 0.0


def open_volume(path: Path, overrides: HeaderOverrides | None = None) -> VolumeFile:
    """Read the header of a NIfTI (.nii, .nii.gz, .nii.bz2), NRRD (.nrrd) or MetaImage file (.mha).

    Args:
        path: the file.
        overrides: values of the cohort table that replace those of the header; None for none.

    Raises:
        VolumeError: the file is missing or damaged, of another format, not 3-D, or holds no real numbers.
    """
    _check_regular(path)
    header = _itk_header(path) if is_itk_file(path) else _nifti_header(path)
    shape = header.shape[:3] + tuple(n for n in header.shape[3:] if n != 1)
    if len(shape) != 3 or min(shape) < 1:
        raise VolumeError(f"{path}: expected a 3-D volume, found shape {' x '.join(map(str, header.shape))}")
    if header.dtype.kind not in "iuf":
        raise VolumeError(f"{path}: expected integer or float voxels, found {header.dtype}")
    overrides = overrides or HeaderOverrides()
    affine = header.affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise VolumeError(f"{path}: expected an invertible affine, found {affine[:3].round(3).tolist()}")
    affine = _overridden(affine, shape, overrides)
    orientation = nib.io_orientation(affine)
    to_display = nib.orientations.ornt_transform(orientation, DISPLAY)
    display_shape = np.empty(3, dtype=int)
    display_shape[to_display[:, 0].astype(int)] = shape
    display_affine = affine @ nib.orientations.inv_ornt_aff(to_display, shape)
    return VolumeFile(
        path=path,
        grid=Grid((int(display_shape[0]), int(display_shape[1]), int(display_shape[2])), display_affine),
        stored_shape=shape,
        stored_codes="".join(nib.aff2axcodes(affine)),
        dtype=header.dtype,
        offset=header.offset,
        slope=header.slope * overrides.hu_slope,
        intercept=header.intercept * overrides.hu_slope + overrides.hu_intercept,
        to_display=to_display,
        header_affine=header.affine,
        doubt=header.doubt,
    )


def _check_regular(path: Path) -> None:
    try:
        check_regular(path)
    except FileNotFoundError:
        raise VolumeError(f"{path}: no such file") from None
    except OSError as error:
        raise VolumeError(f"{path}: expected a volume, found: {error.strerror}") from error


def _nifti_header(path: Path) -> _Header:
    try:
        image = nib.load(path)
    except (ImageFileError, HeaderDataError, OSError, EOFError, GzipDamage, ValueError) as error:
        raise VolumeError(f"{path}: expected a NIfTI file, found: {str(error).splitlines()[0]}") from error
    voxels = image.dataobj if isinstance(image, nib.Nifti1Image) else None
    if not isinstance(image, nib.Nifti1Image) or not isinstance(voxels, nib.arrayproxy.ArrayProxy):
        raise VolumeError(
            f"{path}: expected a NIfTI (.nii, .nii.gz, .nii.bz2), NRRD or MHA file, found {type(image).__name__}"
        )
    return _Header(
        image.shape,
        image.affine.astype(np.float64),
        voxels.dtype,
        _doubtful_place(image),
        int(voxels.offset),
        float(voxels.slope),
        float(voxels.inter),
    )


def _itk_header(path: Path) -> _Header:
    try:
        header = read_itk_header(path)
    except ValueError as error:
        raise VolumeError(f"{path}: expected a NRRD or MHA volume, found {error}") from error
    return _Header(header.shape, header.affine, header.dtype, header.doubt)


def _overridden(
    affine: NDArray[np.float64], shape: tuple[int, ...], overrides: HeaderOverrides
) -> NDArray[np.float64]:
    affine = affine.copy()
    slices = int(np.flatnonzero(nib.io_orientation(affine)[:, 0] == 2)[0])
    for axis, spacing in enumerate(overrides.spacing_mm):
        if spacing is not None:
            affine[:3, axis] *= spacing / _step_mm(affine, axis, between_planes=axis == slices)
    if overrides.flip_z:
        axis = slices
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1
    return affine


def _step_mm(affine: NDArray[np.float64], axis: int, *, between_planes: bool) -> float:
    """Return the length of a step along a stored axis, or of slices the distance of their planes."""
    if between_planes:
        return float(1 / np.linalg.norm(np.linalg.inv(affine[:3, :3])[axis]))
    return float(np.linalg.norm(affine[:3, axis]))


def _doubtful_place(image: nib.Nifti1Image) -> str | None:
    """Say that a header places its volume nowhere, or at two places; None where it is plain."""
    shape = image.shape[:3]
    sform, sform_code = image.header.get_sform(coded=True)
    try:
        qform, qform_code = image.header.get_qform(coded=True)
    except HeaderDataError as error:
        return f"the qform is no rotation ({error}); the sform was used"
    if not sform_code and not qform_code:
        return (
            "the header gives no position (sform and qform have code 0); assumed to be "
            f"{''.join(nib.aff2axcodes(image.affine))} around its middle, {_extent(image.affine, shape)}: right and "
            "left may be exchanged"
        )
    if not sform_code or not qform_code:
        return None
    apart_mm = float(np.linalg.norm((sform - qform)[:3] @ _corners(shape), axis=0).max())
    if apart_mm <= GRID_TOLERANCE * np.linalg.norm(sform[:3, :3], axis=0).min():
        return None
    return (
        f"sform and qform differ by up to {apart_mm:.1f} mm: sform {_extent(sform, shape)}; qform "
        f"{_extent(qform, shape)}; the sform was used"
    )


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return float64 (4, 8): the indices of the outermost voxels, with a 1 below."""
    ends = np.array([[a, b, c, 1] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=np.float64)
    ends[:, :3] *= np.array(shape) - 1
    return ends.T


def _extent(affine: NDArray[np.float64], shape: tuple[int, ...]) -> str:
    places = (affine @ _corners(shape))[:3]
    axes = zip("xyz", places.min(axis=1), places.max(axis=1), strict=True)
    return ", ".join(f"{axis} {low:.0f} to {high:.0f} mm" for axis, low, high in axes)


def _read_whole(path: Path) -> NDArray[Any]:
    try:
        return read_itk_voxels(path)
    except ValueError as error:
        raise VolumeError(f"{path}: expected a NRRD or MHA volume, found {error}") from error


def _read_plain(path: Path, skip: int, wanted: int, whole: int) -> NDArray[np.uint8]:
    if path.stat().st_size < whole:
        raise VolumeError(f"{path}: truncated: expected {whole} bytes, found {path.stat().st_size}")
    return np.fromfile(path, dtype=np.uint8, count=wanted, offset=skip)


def _inflate(path: Path, skip: int, wanted: int, whole: int) -> NDArray[np.uint8]:
    try:
        return inflate(path, skip, wanted, whole)
    except ValueError as error:
        raise VolumeError(str(error)) from error
