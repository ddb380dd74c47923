"""Bags that show a slice at several scales: only some of the scales, or all scales of a slice side by side."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import Bag, FeatureBlock
from pipeline.errors import ConfigError, SampleError


def bag_in_scales(bag: Bag, scales: tuple[str, ...]) -> Bag:
    """Return the bag of the instances at some scales, in their order; it may be empty."""
    if bag.header.scale_names == scales:
        return bag
    number = np.array([scales.index(s) if s in scales else -1 for s in bag.header.scale_names], dtype=np.int8)
    seen = replace(bag, header=replace(bag.header, scale_names=scales), scale=number[bag.scale])
    order = np.lexsort((seen.slice_index, seen.scale, seen.phase))
    return seen.take(order[seen.scale[order] >= 0])


def at_scale(block: str, scale: str) -> str:
    """Return the name of a feature block at one of several scales that stand side by side."""
    return f"{block}@{scale}"


def with_scales_joined(bag: Bag) -> Bag:
    """Return the bag with one instance per slice and lesion, the features of all its scales side by side.

    What is told of the slice itself (height, area, measures) is that of the first scale; the thickness is the largest.

    Raises:
        ConfigError: the bag has one scale.
        SampleError: a slice lacks a scale or has it twice, or its measures differ between scales; patient, phase, slice and
            scale are named.
    """
    scales = bag.header.scale_names
    if len(scales) < 2:
        raise ConfigError(
            f"patient {bag.patient_id}: join_scales puts several scales side by side, and a model sees one, "
            f"{scales[0]}; leave join_scales out, or name more `scales`"
        )
    rows = _rows_of_slices(bag)  # (slices, scales)
    first = bag.take(rows[:, 0])
    _check_measures(bag, rows)
    blocks, start = [], 0
    for scale in scales:
        for block in bag.header.feature_blocks:
            stop = start + block.stop - block.start
            blocks.append(FeatureBlock(at_scale(block.name, scale), start, stop))
            start = stop
    return replace(
        first,
        header=replace(bag.header, scale_names=("+".join(scales),), feature_blocks=tuple(blocks)),
        features=bag.features[rows].reshape(len(rows), -1),
        scale=np.zeros(len(rows), dtype=np.int8),
        extent_mm=bag.extent_mm[rows].max(axis=1),
    )


def _rows_of_slices(bag: Bag) -> NDArray[np.intp]:
    """Return the row of each slice (with its lesion) at each scale (slices, scales), by phase and height."""
    places = np.stack([bag.phase, bag.slice_index, bag.lesion], axis=1).astype(np.int64)
    slices, place = np.unique(places, axis=0, return_inverse=True)
    rows = np.full((len(slices), len(bag.header.scale_names)), -1, dtype=np.intp)
    times = np.zeros_like(rows)
    np.add.at(times, (place.ravel(), bag.scale), 1)
    rows[place.ravel(), bag.scale] = np.arange(len(bag))
    wrong = np.argwhere(times != 1)
    if len(wrong):
        at, scale = wrong[0]
        phase, index, _ = slices[at]
        raise SampleError(
            f"patient {bag.patient_id}, {bag.header.phase_names[phase]}, slice {index + 1}: join_scales expects one instance "
            f"at each scale, found {times[at, scale]} at {bag.header.scale_names[scale]}; without join_scales a model "
            "sees the scales as instances of their own"
        )
    return rows


def _check_measures(bag: Bag, rows: NDArray[np.intp]) -> None:
    measures = bag.measures[rows]  # (slices, scales, m)
    if not np.array_equal(measures, np.broadcast_to(measures[:, :1], measures.shape), equal_nan=True):
        raise SampleError(
            f"patient {bag.patient_id}: join_scales expects the measures of a slice to be the same at every scale, found "
            "others; extract the bag again, or leave join_scales out"
        )


def n_slices(bag: Bag) -> int:
    """Count the slices of a bag: each once, at however many scales and of however many lesions it is seen."""
    return sum(map(len, _slice_indices(bag)))


def slices_per_phase(bag: Bag) -> Sequence[int]:
    """Count the slices of each phase, in the order of the phase names."""
    return [len(found) for found in _slice_indices(bag)]


def _slice_indices(bag: Bag) -> list[NDArray[np.int32]]:
    return [np.unique(bag.slice_index[bag.phase == i]) for i in range(len(bag.header.phase_names))]
