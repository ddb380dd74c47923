"""Compressed NIfTI written slab by slab, the same bytes for the same voxels."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

Write = Callable[[NDArray[Any]], None]
_LEVEL = 1
_FIRST_VOXEL = 352


@contextmanager
def nifti_writer(
    path: Path, shape: tuple[int, int, int], affine: NDArray[np.float64], dtype: type[np.generic]
) -> Iterator[Write]:
    """Yield a function that appends slices of shape (z, y, x) to a new .nii.gz of `shape` (x, y, z).

    The gzip header has neither time nor name, and the fastest level is used: noise hardly compresses.
    """
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_xyzt_units("mm")
    header.set_data_offset(_FIRST_VOXEL)
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw, mtime=0) as stream,
    ):
        stream.write(header.binaryblock.ljust(_FIRST_VOXEL, b"\0"))
        yield lambda slices: _append(stream, slices.astype(dtype, copy=False))


def _append(stream: gzip.GzipFile, slices: NDArray[Any]) -> None:
    stream.write(np.ascontiguousarray(slices).data)
