"""HDF5 files of features as pathology programs write them: one row after another can be added to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Attributes = Mapping[str, Any]
Arrays = Mapping[str, tuple[NDArray[Any], Attributes]]
"""Name -> values and attributes."""


def write_h5(
    path: Path,
    arrays: Arrays,
    *,
    rows_of_a_chunk: int,
    attributes: Attributes | None = None,
) -> None:
    """Write arrays with their attributes, in chunks of so many rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, (values, said) in arrays.items():
            chunks = (rows_of_a_chunk, *values.shape[1:])
            dataset = file.create_dataset(
                name, data=values, chunks=chunks, maxshape=(None, *values.shape[1:])
            )
            dataset.attrs.update(said)
        file.attrs.update(attributes or {})


def single(features: NDArray[Any]) -> NDArray[np.float32]:
    """Return features as float32; half precision stops CLAM and torchmil."""
    return np.ascontiguousarray(features, dtype=np.float32)
