"""Datasets of an HDF5 file that lie in this very file; links and data that lead to another one are never followed."""

from pathlib import Path

import h5py

from pipeline.errors import BagError


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
