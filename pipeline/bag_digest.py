"""The checksum of a bag: what its arrays and its header held when it was written.

It tells damage and exchanged contents apart from what stage 1 wrote. It is no signature: who can write a bag can write its checksum.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BagError
from pipeline.provenance import sha256_of_json

ATTRIBUTE = "bag_sha256"
_COVERED = (
    "patient_id",
    "content_key",
    "modality",
    "phase_names",
    "phases_missing",
    "scale_names",
    "sources",
    "encoder",
    "layer",
    "weights_name",
    "weights_sha256",
    "precision",
    "preprocessing",
    "feature_blocks",
    "reference_hu",
    "measure_names",
    "measure_units",
    "radiomics_names",
    "radiomics_settings",
)
"""Attributes under the checksum; one that a bag does not have is left out."""


def digest_of(arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> str:
    """Return the checksum of a bag as `bag_format` defines it.

    Args:
        arrays: dataset name -> values, without /feats.
        attributes: those of the root, as h5py reads them or as they are written.
    """
    of_arrays = {name: _sha256_of(values) for name, values in arrays.items()}
    covered = {name: _plain(attributes[name]) for name in _COVERED if name in attributes}
    return sha256_of_json({"arrays": of_arrays, "attributes": covered})


def check_digest(file: h5py.File, arrays: Mapping[str, NDArray[Any]], where: object) -> None:
    """Compare a bag with its checksum; one of an earlier release has none.

    Raises:
        BagError: the arrays or the header are not those that were written.
    """
    if ATTRIBUTE not in file.attrs:
        return
    expected, found = _plain(file.attrs[ATTRIBUTE]), digest_of(arrays, file.attrs)
    if expected != found:
        raise BagError(
            f"{where}: the bag was changed after it was written, or is damaged: expected {ATTRIBUTE} {str(expected)[:12]}, "
            f"found {found[:12]}; extract it again"
        )


def _sha256_of(values: NDArray[Any]) -> str:
    """Return the SHA-256 of the values row by row, little-endian."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


def _plain(value: object) -> object:
    """Return an attribute as text or a list of texts, whether h5py gives bytes, str or an array of either."""
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    return value.decode() if isinstance(value, bytes) else str(value)
