"""Tables for statistics programs: a row for each patient and phase, and one for each instance, with all features."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.exporters.exported import Contents, Item, Target
from pipeline.bags import Bag
from pipeline.tables import TableStyle, write_table

INSTANCES = "instances.csv"
_EXACT = TableStyle(digits=9)
_OF_INSTANCES = (
    "file",
    "row",
    "patient_id",
    "phase",
    "scale",
    "slice_number",
    "z_mm",
    "extent_mm",
    "lesion",
    "tumour_area_mm2",
)


def write_instances(path: Path, items: Iterable[Item], *, has_features: bool) -> None:
    """Write what each instance is: file and row in it from 0, phase, slice number from 1, place, measures; features if asked."""
    rows = _rows(items, has_features=has_features)
    first = next(rows)
    write_table(path, tuple(first), _chained(first, rows), style=_EXACT)


def feature_names(bag: Bag) -> list[str]:
    """Return a name for each column of the features: its block and its number in it, from 0."""
    return [
        f"{block.name}_{i}" for block in bag.header.feature_blocks for i in range(block.stop - block.start)
    ]


def _chained(first: Mapping[str, Any], rows: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    yield first
    yield from rows


def _rows(items: Iterable[Item], *, has_features: bool) -> Iterator[Mapping[str, Any]]:
    for item in items:
        bag = item.bag
        scales = bag.header.scale_names
        for i, phase in enumerate(item.phase_of_instances):
            cells = (
                item.name,
                i,
                bag.patient_id,
                phase,
                scales[int(bag.scale[i])],
                int(bag.slice_index[i]) + 1,
                bag.z_mm[i],
                bag.extent_mm[i],
                int(bag.lesion[i]),
                bag.tumour_area_mm2[i],
            )
            yield {
                **dict(zip(_OF_INSTANCES, cells, strict=True)),
                **dict(zip(bag.header.measure_names, bag.measures[i], strict=True)),
                **(dict(zip(feature_names(bag), bag.features[i], strict=True)) if has_features else {}),
            }


def _patient_rows(items: Iterable[Item]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        bag, (phase,) = item.bag, set(item.phase_of_instances)
        radiomics = bag.radiomics[0] if len(bag.radiomics) else [None] * len(bag.header.radiomics_names)
        yield {
            "patient_id": bag.patient_id,
            "phase": phase,
            "n_instances": len(bag),
            **dict(zip(bag.header.measure_names, _mean_of_known(bag.measures), strict=True)),
            **dict(zip((f"radiomics_{name}" for name in bag.header.radiomics_names), radiomics, strict=True)),
            **dict(zip(feature_names(bag), bag.features.mean(axis=0, dtype=np.float64), strict=True)),
        }


def _mean_of_known(values: NDArray[np.float32]) -> Sequence[float]:
    """Return the mean of each column over the values that are known, NaN where there is none."""
    is_known = np.isfinite(values)
    sums = np.where(is_known, values, 0.0).sum(axis=0, dtype=np.float64)
    n = is_known.sum(axis=0)
    means: list[float] = np.where(n > 0, sums / np.maximum(n, 1), np.nan).tolist()
    return means


def _write(_: Item, __: Path, ___: Contents) -> None:
    """Write nothing for one item: the tables are of all."""


def _finish(contents: Contents, folder: Path) -> None:
    rows = _patient_rows(contents.items())
    first = next(rows)
    write_table(folder / "patients.csv", tuple(first), _chained(first, rows), style=_EXACT)
    if contents.classes:
        labels = ({"patient_id": case, "label": label} for case, label in contents.label_of.items())
        write_table(folder / "labels.csv", ("patient_id", "label"), labels)


def _advice(contents: Contents) -> Iterator[str]:
    yield "patients.csv: a row for each patient and phase, the mean over its instances; a measure that is not known is left out of it"
    yield "instances.csv: a row for each instance, with its features"
    if contents.classes:
        yield "labels.csv: the class of each patient, to be joined by patient_id"


TARGET = Target(
    "csv",
    "patients.csv, instances.csv and labels.csv",
    _write,
    _finish,
    lacks=("numbers have 9 decimals",),
    advice=lambda contents: tuple(_advice(contents)),
    by_phase=True,
    keeps_names=True,
)
