"""Write a bag as the bytes of an HDF5 file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.bag_digest import ATTRIBUTE, digest_of
from pipeline.bag_format import COLUMNS, FORMAT, PER_PHASE, RANDOM_BANNER, VERSION, Bag, BagHeader, Source
from pipeline.provenance import canonical_json, software_versions, utc_now


def hdf5_of(bag: Bag) -> bytes:
    """Return the HDF5 file of a bag, made in memory because HDF5 crashes the process when a disk is full."""
    with h5py.File(bag.patient_id, "w", driver="core", backing_store=False) as file:
        arrays = _arrays(bag)
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
        file["feats"] = file["features"]
        attributes = _attributes(bag.header)
        for name, value in {**attributes, ATTRIBUTE: digest_of(arrays, attributes)}.items():
            file.attrs[name] = value
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _arrays(bag: Bag) -> Mapping[str, NDArray[Any]]:
    """Return the datasets of a bag by name, contiguous, without /feats."""
    coords = np.stack([bag.phase, bag.slice_index], axis=1).astype(np.int64)
    of_phases = PER_PHASE if bag.header.radiomics_names else ()
    arrays = {name: getattr(bag, name) for name in ("features", "measures", *COLUMNS, *of_phases)}
    return {name: np.ascontiguousarray(values) for name, values in {**arrays, "coords": coords}.items()}


def _attributes(header: BagHeader) -> Mapping[str, Any]:
    recipe = header.recipe
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "patient_id": header.patient_id,
        **_of_contents(header),
        "encoder": recipe.encoder,
        "layer": recipe.layer,
        "weights_name": recipe.weights_name,
        "weights_sha256": recipe.weights_sha256,
        "preprocessing": canonical_json(recipe.preprocessing),
        "preprocessing_sha256": recipe.preprocessing_sha256,
        "precision": recipe.precision,
        "software": canonical_json(software_versions()),
        "content_key": header.content_key,
        "feat_type": "tile",
        "extractor": recipe.encoder,
        "unit": "um",
        "tile_size_um": header.tile_size_um,
        "tile_size_px": header.tile_size_px,
        "created_utc": utc_now(),
        "complete": True,
        **({"warning": RANDOM_BANNER} if recipe.has_random_weights else {}),
    }


def _of_contents(header: BagHeader) -> Mapping[str, Any]:
    """Return the attributes that say what the arrays hold."""
    return {
        "modality": header.modality,
        "phase_names": _texts(header.phase_names),
        "phases_present": _texts(header.phases_present),
        "phases_missing": canonical_json(header.phases_missing),
        "scale_names": _texts(header.scale_names),
        "sources": canonical_json({phase: _json(source) for phase, source in header.sources.items()}),
        "feature_blocks": canonical_json([vars(block) for block in header.feature_blocks]),
        "reference_hu": canonical_json(header.reference_hu),
        "measure_names": _texts(header.measure_names),
        "measure_units": _texts(header.measure_units),
        **_of_radiomics(header),
    }


def _of_radiomics(header: BagHeader) -> Mapping[str, Any]:
    if not header.radiomics_names:
        return {}
    return {
        "radiomics_names": _texts(header.radiomics_names),
        "radiomics_settings": canonical_json(header.radiomics_settings),
    }


def _json(source: Source) -> Mapping[str, Any]:
    """Return a source as plain values, without a spacing that is not known."""
    is_known = not all(map(math.isnan, source.spacing_mm))
    return {name: value for name, value in vars(source).items() if name != "spacing_mm" or is_known}


def _texts(values: Sequence[str]) -> NDArray[Any]:
    return np.array(values, dtype=h5py.string_dtype())
