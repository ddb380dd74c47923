"""Datasets of an HDF5 file that lie in this very file; links and data that lead to another one are never followed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from pipeline.errors import BagError


@contextmanager
def opened_hdf5(
    path: Path, *, missing: str, damage: tuple[type[Exception], ...], advice: str = ""
) -> Iterator[h5py.File]:
    """Open a file to read; what h5py raises on a damaged one, also later while it is open, becomes a BagError.

    Args:
        path: of the file.
        missing: what is said where there is none.
        damage: what reading it may raise where it is damaged.
        advice: what to do about damage, for the end of the message.

    Raises:
        BagError: there is no such file, it is no HDF5, or it is damaged.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise BagError(f"{path}: {missing}") from None
    except OSError as error:
        raise BagError(f"{path}: not a readable HDF5 file: {error}") from error
    try:
        with file:
            yield file
    except BagError:
        raise
    except damage as error:
        raise BagError(f"{path}: the file is damaged: {error}{advice}") from error


def own_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset that lies in this file; h5py itself would follow a link, or read bytes, of any other.

    Raises:
        BagError: there is none of this name, or it is a link, no dataset, or its data lie elsewhere.
    """
    links, key = file.id.links, name.encode()
    if not links.exists(key):
        raise BagError(f"{path}: lacks the dataset /{name}; extract it again")
    if links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise BagError(f"{path}: /{name} is a link that may lead to another file, which is never followed")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise BagError(f"{path}: expected a dataset as /{name}, found {type(found).__name__}")
    if found.external or found.is_virtual:
        raise BagError(f"{path}: the data of /{name} lie in another file, which is never followed")
    return found
