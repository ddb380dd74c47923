"""Bags of features, one HDF5 file per patient: write, read and compare them.

The format `phasemil-bag` is specified in `bag_format`; `bag_checks` checks it, `bag_reading` and `bag_writing`
read and write it. All other modules import from here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np

from pipeline.bag_checks import check_bag
from pipeline.bag_format import (
    CT,
    FORMAT,
    HISTOLOGY,
    NO_SPACING,
    ONLY_PHASE,
    PER_PHASE,
    RANDOM_BANNER,
    RANDOM_PREFIX,
    VERSION,
    WHOLE,
    Bag,
    BagHeader,
    FeatureBlock,
    Recipe,
    Source,
)
from pipeline.bag_reading import bag_of_file, header_of_file, how_alike, version_of_file
from pipeline.bag_writing import hdf5_of
from pipeline.errors import BagError
from pipeline.files import written_whole

__all__ = [
    "CT",
    "FORMAT",
    "HISTOLOGY",
    "NO_SPACING",
    "ONLY_PHASE",
    "PER_PHASE",
    "RANDOM_BANNER",
    "RANDOM_PREFIX",
    "SUFFIX",
    "VERSION",
    "WHOLE",
    "Bag",
    "BagHeader",
    "FeatureBlock",
    "Recipe",
    "Source",
    "arrays_sha256",
    "bag_path",
    "check_bag",
    "check_one_recipe",
    "differences",
    "how_alike",
    "list_bags",
    "read_bag",
    "read_header",
    "version_of_file",
    "write_bag",
]

SUFFIX = ".h5"
_OF_RECIPE = ("encoder", "layer", "weights_name", "weights_sha256", "precision", "preprocessing_sha256")


def bag_path(folder: Path, patient_id: str) -> Path:
    """Return the path of a patient's bag."""
    return folder / f"{patient_id}{SUFFIX}"


def list_bags(folder: Path) -> Mapping[str, Path]:
    """Return the path of every bag in a folder by patient identifier, sorted."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def write_bag(folder: Path, bag: Bag) -> Path:
    """Write a bag atomically, after reading it back and checking it; return its path.

    Raises:
        BagError: the bag breaks the specification: its arrays do not agree in length, are empty or unsorted, or hold a
            value that is not finite, or its header does not fit them.
        OSError: the disk is full or cannot be written to; the error names the path.
    """
    path = bag_path(folder, bag.patient_id)
    check_bag(bag, path)
    image = hdf5_of(bag)
    with written_whole(path) as sibling:
        sibling.write_bytes(image)
        written = bag_of_file(sibling, bag.patient_id)
        if not np.array_equal(written.features, bag.features):
            raise BagError(f"{path}: the features read back differ from those written; check the disk")
    return path


def read_bag(path: Path) -> Bag:
    """Read and check one bag, of any released version.

    Raises:
        BagError: the file is missing or unreadable, of another format or version, belongs to another patient,
            links to another file, or breaks the specification.
    """
    bag = bag_of_file(path, _patient_of(path))
    check_bag(bag, path)
    return bag


def read_header(path: Path) -> BagHeader:
    """Read the header of a bag, without its arrays.

    Raises:
        BagError: the file is missing or unreadable, of another format or version, belongs to another patient,
            or has an inconsistent header.
    """
    return header_of_file(path, _patient_of(path))


def arrays_sha256(bag: Bag) -> str:
    """Return the SHA-256 of all arrays of a bag: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(one.name for one in fields(bag) if one.name != "header"):
        values = np.ascontiguousarray(getattr(bag, name))
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def check_one_recipe(headers: Iterable[BagHeader]) -> Recipe:
    """Return the recipe that all bags share.

    Raises:
        BagError: there is no bag, or two bags differ in encoder, layer, weights, precision or preprocessing, in their
            phase or scale names, or in what their features and measures are; both patients and the difference are named.
    """
    iterator = iter(headers)
    first = next(iterator, None)
    if first is None:
        raise BagError("no bag to read; run stage 1 first")
    for other in iterator:
        for what, a, b in differences(first, other):
            raise BagError(
                f"the bags of {first.patient_id} and {other.patient_id} differ in {what}: {a} against {b}; "
                "bags of different recipes are never mixed: extract both again with one configuration"
            )
    return first.recipe


def differences(a: BagHeader, b: BagHeader) -> Iterable[tuple[str, object, object]]:
    """Yield what of two bags differs that one model cannot read together: its name, and both values."""
    for name in _OF_RECIPE:
        if getattr(a.recipe, name) != getattr(b.recipe, name):
            yield name, getattr(a.recipe, name), getattr(b.recipe, name)
    for name in ("modality", "phase_names", "scale_names", "measure_names", "measure_units"):
        if getattr(a, name) != getattr(b, name):
            yield name, getattr(a, name), getattr(b, name)
    if a.radiomics_names != b.radiomics_names:
        yield "radiomics_names", _counted(a.radiomics_names), _counted(b.radiomics_names)
    for key in {**a.radiomics_settings, **b.radiomics_settings}:
        if a.radiomics_settings.get(key) != b.radiomics_settings.get(key):
            yield f"radiomics_settings, {key}", a.radiomics_settings.get(key), b.radiomics_settings.get(key)
    if a.feature_blocks != b.feature_blocks:
        yield "feature_blocks", _listed(a.feature_blocks), _listed(b.feature_blocks)


def _counted(names: tuple[str, ...]) -> str:
    """Say how many names there are, and which are the first; hundreds would hide the rest of a message."""
    return f"{len(names)} ({', '.join(names[:3])} ...)" if names else "none"


def _listed(blocks: Iterable[FeatureBlock]) -> str:
    return ", ".join(map(str, blocks))


def _patient_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)
