"""NRRD and MHA volumes, read by SimpleITK (the extra `itk`).

pynrrd would read NRRD alone as fast (a third of a second for 60 MB, 1.5 s compressed, both); SimpleITK reads both formats, in
the same coordinates. It weighs 260 MB, which a cohort in NIfTI can do without: so an extra.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

ITK_SUFFIXES = (".nrrd", ".mha")
"""Voxels in the file of the header: of .nhdr and .mhd a hash of the file would not tell a change of the voxels."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NO_SPACE = "the header names no space; its axes were taken for left, posterior, superior: right and left may be exchanged"


@dataclass(frozen=True, eq=False)
class ItkHeader:
    """Header of a NRRD or MHA file.

    Attributes:
        shape: of the stored axes, the fastest first.
        affine: (4, 4), from these to RAS+ millimetres.
        dtype: of the voxels.
        doubt: ambiguity about the position; None if there is none.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    doubt: str | None = None


def is_itk_file(path: Path) -> bool:
    """Whether a file is NRRD or MHA by its name."""
    return path.suffix.lower() in ITK_SUFFIXES


def read_itk_header(path: Path) -> ItkHeader:
    """Read the header of a NRRD or MHA file.

    Raises:
        ValueError: it is damaged or no volume of single values, or SimpleITK is not installed.
    """
    sitk = _simple_itk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(_last_line(error)) from error
    n = int(reader.GetDimension())
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(
            f"{reader.GetNumberOfComponents()} values in each voxel, as of colours or of overlapping segments; export each "
            "segment as a volume of its own"
        )
    pixel = sitk.GetArrayViewFromImage(sitk.Image([1] * n, reader.GetPixelID()))
    is_unplaced = path.suffix.lower() == ".nrrd" and "NRRD_space" not in reader.GetMetaDataKeys()
    return ItkHeader(
        tuple(map(int, reader.GetSize())),
        _affine(reader, n),
        np.dtype(pixel.dtype),
        _NO_SPACE if is_unplaced else None,
    )


def read_itk_voxels(path: Path) -> NDArray[Any]:
    """Read all voxels, the slowest axis first; the formats can be read whole only.

    Raises:
        ValueError: the file is truncated or damaged.
    """
    try:
        voxels: NDArray[Any] = _simple_itk().GetArrayFromImage(_simple_itk().ReadImage(str(path)))
    except RuntimeError as error:
        raise ValueError(_last_line(error)) from error
    return voxels


def _affine(reader: Any, n: int) -> NDArray[np.float64]:  # noqa: ANN401 - a class of SimpleITK, which ships no types
    """Return the affine of the first three axes to RAS+; those that a volume lacks are of unit length."""
    affine = np.eye(4)
    k = min(n, 3)
    direction = np.array(reader.GetDirection()).reshape(n, n)[:k, :k]
    affine[:k, :k] = direction * np.array(reader.GetSpacing())[:k]
    affine[:k, 3] = reader.GetOrigin()[:k]
    return np.asarray(_LPS_TO_RAS @ affine)


def _simple_itk() -> ModuleType:
    """Import SimpleITK when a file needs it, so that NIfTI alone does without.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return import_module("SimpleITK")
    except ImportError:
        raise ValueError(
            "NRRD or MHA, which needs SimpleITK: pip install 'phasemil[itk]', or convert to NIfTI"
        ) from None


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"a file that cannot be read: {lines[-1] if lines else error}"
