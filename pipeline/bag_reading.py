"""Read bag files of every released version, without following links to other files."""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import TypeAdapter, ValidationError

from pipeline.bag_checks import check_coords, check_header, check_measures, check_radiomics, check_shapes
from pipeline.bag_digest import check_digest
from pipeline.bag_format import (
    COLUMNS,
    CT,
    FORMAT,
    NO_SPACING,
    ONLY_PHASE,
    PER_PHASE,
    VERSION,
    WHOLE,
    Bag,
    BagHeader,
    FeatureBlock,
    Recipe,
    Source,
)
from pipeline.errors import BagError
from pipeline.own_datasets import opened_hdf5, own_dataset

_BLOCKS = TypeAdapter(tuple[FeatureBlock, ...])
_SOURCES = TypeAdapter(dict[str, Source])
_REASONS = TypeAdapter(dict[str, str])
_SETTINGS = TypeAdapter(dict[str, Any])
_REFERENCES = TypeAdapter(dict[str, float])
_OF_RECIPE = ("encoder", "layer", "weights_name", "weights_sha256", "precision")
_SINCE_VERSION_2 = frozenset({"measures", "extent_mm"})
_DAMAGE = (KeyError, ValueError, TypeError, AttributeError, OSError, RuntimeError)
"""What h5py and the parsers raise on attributes that are missing or damaged; too deep JSON is a RuntimeError."""

Attributes = Mapping[str, Any]


def bag_of_file(path: Path, patient_id: str) -> Bag:
    """Read the bag file of a patient; types, shapes and header are checked before any array is read.

    Raises:
        BagError: the file is not a bag of a known version, belongs to another patient, or cannot be read.
    """
    with _opened(path) as (file, version):
        header = _header_in(file, version, path, patient_id)
        known = [name for name in COLUMNS if version > 1 or name not in _SINCE_VERSION_2]
        datasets = {name: own_dataset(file, name, path) for name in ("features", "coords", *known)}
        check_shapes(datasets, path)
        _check_feats(file, path)
        if version > 1:
            measures = own_dataset(file, "measures", path)
            check_measures(measures, header, len(datasets["features"]), path)
            datasets["measures"] = measures
            datasets |= _radiomics(file, header, path)
        arrays = {name: dataset[()] for name, dataset in datasets.items()}
        if version > 1:
            check_digest(file, arrays, path)
    coords = arrays.pop("coords")
    bag = Bag(header=header, **arrays)
    check_coords(coords, bag, path)
    return bag


def header_of_file(path: Path, patient_id: str) -> BagHeader:
    """Read the header of the bag file of a patient, without its arrays.

    Raises:
        BagError: the file is not a bag of a known version, belongs to another patient, or cannot be read.
    """
    with _opened(path) as (file, version):
        return _header_in(file, version, path, patient_id)


def version_of_file(path: Path) -> int:
    """Return the version of the format in which a bag file was written.

    Raises:
        BagError: the file is not a bag of a known version, or cannot be read.
    """
    with _opened(path) as (_, version):
        return version


def how_alike(a: str, b: str) -> str:
    """Describe how two names that look the same differ, as in ", which ..."; empty for other names."""
    if a == b or unicodedata.normalize("NFC", a).casefold() != unicodedata.normalize("NFC", b).casefold():
        return ""
    if unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b):
        return f", which differ in their Unicode form only ({a!a} and {b!a})"
    return ", which differ in upper and lower case only"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, int]]:
    """Open a file and check that it is a complete bag of a version that can be read; give the version too.

    What h5py raises on a damaged file, while it is open, becomes a BagError.
    """
    with opened_hdf5(path, missing="no such bag", damage=_DAMAGE, advice="; extract it again") as file:
        yield file, _version_in(file, path)


def _version_in(file: h5py.File, path: Path) -> int:
    attributes = file.attrs
    name, version = attributes.get("format"), attributes.get("format_version")
    is_complete = attributes.get("complete")
    is_known = isinstance(name, str) and name == FORMAT
    is_known &= isinstance(version, int | np.integer) and version in _ADDED_SINCE_1
    if is_known and isinstance(is_complete, bool | np.bool_) and is_complete:
        return int(version)
    versions = " or ".join(map(str, _ADDED_SINCE_1))
    what = "no format and version" if name is None else f"{name} version {version}"
    raise BagError(
        f"{path}: expected {FORMAT} version {versions}, complete; found {what}"
        f"{', incomplete' if is_known else ''}; extract it again, or read it with the release that wrote it"
    )


def _header_in(file: h5py.File, version: int, path: Path, patient_id: str) -> BagHeader:
    features = own_dataset(file, "features", path)
    check_shapes({"features": features}, path)
    _check_stored(features, path)
    try:
        header = _understood(file.attrs, version, features.shape[1])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = f"{error.title}: {place}: {first['msg']}"
        raise BagError(f"{path}: an attribute of the bag is missing or damaged: {what}") from error
    except _DAMAGE as error:
        raise BagError(f"{path}: an attribute of the bag is missing or damaged: {error}") from error
    if header.patient_id != patient_id:
        raise BagError(
            f"{path}: the file is named after patient {patient_id!r}, its header says {header.patient_id!r}"
            f"{how_alike(patient_id, header.patient_id)}; rename the file, or extract it again"
        )
    check_header(header, features.shape[1], path)
    return header


def _radiomics(file: h5py.File, header: BagHeader, path: Path) -> Mapping[str, h5py.Dataset]:
    """Return the datasets of the radiomics of which the header speaks; none where it does not."""
    if not header.radiomics_names:
        return {}
    found = {name: own_dataset(file, name, path) for name in PER_PHASE}
    check_radiomics(found["radiomics"], found["radiomics_phase"], header, path)
    return found


def _check_stored(features: h5py.Dataset, path: Path) -> None:
    """Refuse features whose shape promises more than the file holds; every other length follows from theirs."""
    is_contiguous = features.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
    n_bytes = math.prod(features.shape) * features.dtype.itemsize
    n_stored = min(features.id.get_storage_size(), path.stat().st_size)
    if not is_contiguous or n_bytes > n_stored:
        raise BagError(
            f"{path}: expected features {features.shape} as {n_bytes} contiguous bytes, found "
            f"{n_stored} bytes{'' if is_contiguous else ', not contiguous'}; extract it again"
        )


def _check_feats(file: h5py.File, path: Path) -> None:
    if own_dataset(file, "feats", path) != file["features"]:
        raise BagError(f"{path}: expected /feats to be a hard link to /features, found another dataset")


def _understood(attributes: Attributes, version: int, n_features: int) -> BagHeader:
    added = _ADDED_SINCE_1[version](attributes, n_features)
    recipe = Recipe(
        **{name: _text(attributes, name) for name in _OF_RECIPE},
        preprocessing=json.loads(_text(attributes, "preprocessing")),
    )
    if recipe.preprocessing_sha256 != _text(attributes, "preprocessing_sha256"):
        raise ValueError("preprocessing_sha256 is not that of preprocessing")
    return BagHeader(
        patient_id=_text(attributes, "patient_id"),
        scale_names=_texts(attributes, "scale_names"),
        recipe=recipe,
        content_key=_text(attributes, "content_key"),
        tile_size_um=float(attributes["tile_size_um"]),
        tile_size_px=int(attributes["tile_size_px"]),
        **_phases(attributes, added["modality"]),
        **added,
    )


def _phases(attributes: Attributes, modality: str) -> Mapping[str, Any]:
    """Return phase names, missing phases and sources; only a bag of CT must have them."""
    if modality == CT:
        sources = _SOURCES.validate_json(_text(attributes, "sources"), strict=True)
        names = _texts(attributes, "phase_names")
        missing = _REASONS.validate_json(_text(attributes, "phases_missing"), strict=True)
    else:
        found = json.loads(_text(attributes, "sources", "{}"))
        with_spacing = {phase: {"spacing_mm": NO_SPACING, **source} for phase, source in found.items()}
        sources = _SOURCES.validate_python(with_spacing)
        names = _texts(attributes, "phase_names") if "phase_names" in attributes else (ONLY_PHASE,)
        missing = _REASONS.validate_json(_text(attributes, "phases_missing", "{}"), strict=True)
    return {"phase_names": names, "phases_missing": missing, "sources": sources}


def _added_in_version_1(_: Attributes, n_features: int) -> Mapping[str, Any]:
    return {"modality": CT, "feature_blocks": (FeatureBlock(WHOLE, 0, n_features),)}


def _added_in_version_2(attributes: Attributes, _: int) -> Mapping[str, Any]:
    return {
        "modality": _text(attributes, "modality"),
        "feature_blocks": _BLOCKS.validate_json(_text(attributes, "feature_blocks"), strict=True),
        "reference_hu": _REFERENCES.validate_json(_text(attributes, "reference_hu")),
        "measure_names": _texts(attributes, "measure_names"),
        "measure_units": _texts(attributes, "measure_units"),
        **_of_radiomics(attributes),
    }


def _of_radiomics(attributes: Attributes) -> Mapping[str, Any]:
    """Return what the header says of radiomics; nothing for a bag without them."""
    if "radiomics_names" not in attributes and "radiomics_settings" not in attributes:
        return {}
    settings = _SETTINGS.validate_json(_text(attributes, "radiomics_settings"), strict=True)
    return {"radiomics_names": _texts(attributes, "radiomics_names"), "radiomics_settings": settings}


_ADDED_SINCE_1: Mapping[int, Callable[[Attributes, int], Mapping[str, Any]]] = {
    1: _added_in_version_1,
    VERSION: _added_in_version_2,
}
"""Version -> function that returns what the header has beyond version 1, or its defaults."""


def _text(attributes: Attributes, name: str, default: str | None = None) -> str:
    if default is not None and name not in attributes:
        return default
    return _decoded(attributes[name], name)


def _texts(attributes: Attributes, name: str) -> tuple[str, ...]:
    values = attributes[name]
    if np.ndim(values) != 1:
        raise TypeError(f"expected {name} as a list of texts, found {values!r}")
    return tuple(_decoded(value, name) for value in values)


def _decoded(value: object, name: str) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"expected {name} as text, found {value!r}")
    return value
