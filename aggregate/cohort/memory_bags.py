"""Bags made from arrays in memory, for notebooks: without files, scans or an encoder of this package."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import ONLY_PHASE, Bag, BagHeader, Recipe
from pipeline.errors import SampleError

_MODALITY = "arrays"
_RECIPE = Recipe(
    encoder="unknown",
    layer="unknown",
    weights_name="features given as arrays",
    weights_sha256="",
    precision="float32",
    preprocessing={},
)


def bags_of_arrays(
    features: NDArray[np.float32],
    bag_index: NDArray[np.integer[Any]],
    patient_ids: Sequence[str],
    phase: Sequence[str] | None,
) -> list[Bag | None]:
    """Make one bag per patient from its rows, in their order; None for a patient without rows.

    Args:
        features: (rows, d), finite.
        bag_index: int (rows,), index of the patient of each row.
        patient_ids: n identifiers.
        phase: phase name of each row (rows,); None for a single phase "-".

    Raises:
        SampleError: the shapes of the arrays do not match.
    """
    features, bag_index = np.asarray(features), np.asarray(bag_index)
    names = np.full(len(features), ONLY_PHASE) if phase is None else np.asarray(phase, dtype=np.str_)
    if features.ndim != 2 or bag_index.shape != (len(features),) or names.shape != (len(features),):
        raise SampleError(
            "expected features (rows, d) with a bag_index and a phase for each row, found features of shape "
            f"{features.shape}, bag_index {bag_index.shape}, phase {names.shape}"
        )
    if not np.issubdtype(bag_index.dtype, np.integer):
        raise SampleError(f"expected bag_index as whole numbers, found {bag_index.dtype}")
    numbers = range(len(patient_ids))
    strangers = sorted({int(i) for i in np.unique(bag_index)} - set(numbers))
    if strangers:
        raise SampleError(
            f"expected bag_index from 0 to {len(patient_ids) - 1}, one number per label, found {strangers[0]}"
        )
    phases = tuple(dict.fromkeys(names.tolist()))
    found = [np.flatnonzero(bag_index == number) for number in numbers]
    return [
        _bag(patient_id, features[rows].astype(np.float32), names[rows], phases) if len(rows) else None
        for patient_id, rows in zip(patient_ids, found, strict=True)
    ]


def _bag(
    patient_id: str, features: NDArray[np.float32], names: NDArray[np.str_], phases: tuple[str, ...]
) -> Bag:
    code = np.array([phases.index(name) for name in names.tolist()], dtype=np.int8)
    order = np.argsort(code, kind="stable")
    code = code[order]
    index = np.concatenate([np.arange(count) for count in np.unique(code, return_counts=True)[1]])
    missing = {name: "no row" for i, name in enumerate(phases) if i not in code}
    header = BagHeader(
        patient_id=patient_id,
        phase_names=phases,
        phases_missing=missing,
        scale_names=("-",),
        recipe=_RECIPE,
        sources={},
        content_key="",
        tile_size_um=1.0,
        tile_size_px=1,
        modality=_MODALITY,
    )
    n = len(features)
    return Bag(
        header=header,
        features=features[order],
        phase=code,
        slice_index=index.astype(np.int32),
        z_mm=index.astype(np.float32),
        tumour_area_mm2=np.zeros(n, dtype=np.float32),
        lesion=np.zeros(n, dtype=np.int16),
        scale=np.zeros(n, dtype=np.int8),
    )
