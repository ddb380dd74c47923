"""Files of volumes by their names, and the values that stand in a mask."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from extract.volumes import VolumeError, open_volume

SUFFIXES = (".nii.gz", ".nii.bz2", ".nii", ".nrrd", ".mha")
"""Of the files that stage 1 reads; a header with its voxels in another file (.nhdr, .mhd) is none of them."""
DETACHED = (".nhdr", ".mhd", ".hdr", ".img")
_WHOLE = 0.01
"""Largest distance of a value from a whole number that is rounding."""


def suffix_of(path: Path) -> str | None:
    """Return the suffix of a volume, such as `.nii.gz`; None for other files, also for those of an operating system."""
    name = path.name.lower()
    return None if name.startswith(".") else next((end for end in SUFFIXES if name.endswith(end)), None)


def stem_of(path: Path) -> str:
    """Return the name of a volume without its suffix."""
    return path.name[: -len(suffix_of(path) or path.suffix) or None]


def volumes_in(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are volumes by their names."""
    return (path for path in files if suffix_of(path))


def values_in(path: Path) -> tuple[float, ...]:
    """Return the values that stand in a mask, ascending, whole ones rounded.

    Raises:
        VolumeError: it cannot be read, or holds values that are not finite.
    """
    volume = open_volume(path)
    found = np.unique(volume.true_values(np.unique(volume.read())))
    if not np.isfinite(found).all():
        raise VolumeError(f"{path}: expected finite values, found NaN or infinite ones")
    whole = np.rint(found)
    return tuple(np.unique(np.where(np.abs(found - whole) < _WHOLE, whole, found)).tolist())
