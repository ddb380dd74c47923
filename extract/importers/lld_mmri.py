"""Layout `lld-mmri`: boxes in place of masks, as LLD-MMRI has them: images/PATIENT/STUDY/SERIES.nii.gz and labels/Annotation.json.

A box tells no outline, so what can be had of it is the slices: a table of ranges of z beside the cohort table, for
`[extract.slices] which = "z_ranges"`. There are no lesion features and no measures then. LLD-MMRI itself is MR, which stage 1 refuses, as
its windows and checks are in HU; the layout is for CT that was annotated in this form.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from extract.importers.found import Entry, Import, ScanRow, not_used, to_set
from extract.importers.layout import ImportRequest, Layout, LayoutSettings
from extract.importers.volume_files import volumes_in
from extract.volumes import VolumeError, open_volume
from pipeline.errors import CohortError, Mistakes

CATEGORIES: Mapping[str, str] = {
    "0": "Hepatic_hemangioma",
    "1": "iCCA",
    "2": "Hepatic_abscess",
    "3": "Hepatic_metastasis",
    "4": "Hepatic_cyst",
    "5": "Focal_nodular_hyperplasia",
    "6": "HCC",
}
"""The numbers of LLD-MMRI."""
RANGES = "z_ranges.csv"
_ROUNDING_MM = 0.01
"""By which a range is wider than the centres of its slices, so that rounding leaves none out."""
RANGE_COLUMNS = ("patient_id", "phase", "z_from_mm", "z_to_mm")


class LldMmriSettings(LayoutSettings):
    """Settings of the layout lld-mmri."""

    box_z: Literal["", "stored", "reversed"] = ""
    """How boxes count slices: as the file stores them, or from its other end. It is asked for: copies of LLD-MMRI differ in it."""


@dataclass(frozen=True)
class _Series:
    """One entry of the annotation: a scan with its boxes."""

    patient: str
    phase: str
    file: str
    boxes: tuple[tuple[int, int], ...]
    """First and last slice of each lesion."""
    categories: frozenset[str]


def find(request: ImportRequest, settings: LldMmriSettings) -> Import:
    """Find the scans that the annotation names, and write the ranges of z of their boxes."""
    found = [path for path in request.files if path.suffix == ".json" and "annotation" in path.name.lower()]
    if len(found) != 1:
        raise CohortError(f"{request.folder}: expected one Annotation.json, found {len(found)}")
    if not settings.box_z:
        raise CohortError(
            "box_z: do the boxes count slices as the files store them, or from the other end? box_z=stored or box_z=reversed"
        )
    images = {path.relative_to(request.folder).as_posix(): path for path in volumes_in(request.files)}
    entries = [Entry("read for boxes and categories", source="the layout", file=request.named(found[0]))]
    ranges, rows = list[Mapping[str, Any]](), list[ScanRow]()
    mistakes = Mistakes()
    for series in _read(found[0]):
        with mistakes.gathered():
            row, z_range = _row(series, images, request, settings, entries)
            rows += row
            ranges += z_range
    mistakes.raise_all()
    table = request.table.with_name(f"{request.table.stem}_{RANGES}")
    entries += [
        to_set("extract.slices.which", '"z_ranges"', "boxes and no masks"),
        to_set("extract.slices.z_ranges", json.dumps(table.resolve().as_posix()), "boxes and no masks"),
    ]
    return Import(tuple(rows), tuple(entries), tables={table.name: ranges})


def _read(path: Path) -> Iterator[_Series]:
    """Yield the series of an annotation.

    Raises:
        CohortError: it is not in the form of LLD-MMRI.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for patient, scans in content["Annotation_info"].items():
            for scan in scans:
                lesions = scan["annotation"]["lesion"].values()
                boxes = tuple(_box(lesion["bbox"]["3D_box"]) for lesion in lesions)
                categories = frozenset(str(lesion["category"]) for lesion in lesions)
                file = f"{scan['studyUID']}/{scan['seriesUID']}"
                yield _Series(str(patient), str(scan["phase"]), file, boxes, categories)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CohortError(f"{path}: expected the annotation of LLD-MMRI, found no {error}") from error


def _box(box: Mapping[str, Any]) -> tuple[int, int]:
    return int(box["z_min"]), int(box["z_max"])


def _row(
    series: _Series,
    images: Mapping[str, Path],
    request: ImportRequest,
    settings: LldMmriSettings,
    entries: list[Entry],
) -> tuple[Sequence[ScanRow], Sequence[Mapping[str, Any]]]:
    """Return the row of a series and its range of z; nothing where it is not used."""
    patient_id = request.spellings.patient(series.patient)
    phase = request.spellings.phase(series.phase)
    name = f"{series.patient}/{series.file}"
    if phase is None:
        entries.append(
            not_used(
                name,
                f'unknown phase {series.phase!r}; --phase "{series.phase}=NAME" takes it',
                patient_id=patient_id,
            )
        )
        return (), ()
    path = next((p for n, p in images.items() if series.file in n and series.patient in n), None)
    if path is None:
        entries.append(not_used(name, "no such image", patient_id=patient_id, phase=phase))
        return (), ()
    if len(series.categories) != 1:
        raise CohortError(
            f"patient {patient_id}, phase {phase}: expected lesions of one category, found {', '.join(sorted(series.categories)) or 'none'}"
        )
    (category,) = series.categories
    row = ScanRow(patient_id, phase, path, label=CATEGORIES.get(category, category))
    try:
        low, high, told = _z_range(path, series.boxes, settings)
    except VolumeError as error:
        entries.append(
            not_used(
                request.named(path), str(error).removeprefix(f"{path}: "), patient_id=patient_id, phase=phase
            )
        )
        return (), ()
    entries.append(
        Entry(told, source="the annotation", patient_id=patient_id, phase=phase, file=request.named(path))
    )
    return (row,), (dict(zip(RANGE_COLUMNS, (patient_id, phase, low, high), strict=True)),)


def _z_range(
    path: Path, boxes: Sequence[tuple[int, int]], settings: LldMmriSettings
) -> tuple[float, float, str]:
    """Return the range of z in mm that all boxes of a scan take up, and what was decided.

    Raises:
        VolumeError: the image cannot be read, or a box lies beyond it.
    """
    volume = open_volume(path)
    n = volume.stored_shape[2]
    first, last = min(box[0] for box in boxes), max(box[1] for box in boxes)
    if settings.box_z == "reversed":
        first, last = n - 1 - last, n - 1 - first
    inside = max(0, first), min(n - 1, last)
    if inside[0] > inside[1]:
        raise VolumeError(f"{path}: the boxes lie on slices {first} to {last}, the image has {n}")
    affine, (i, j, _) = volume.header_affine, volume.stored_shape
    z = [float((affine @ np.array([(i - 1) / 2, (j - 1) / 2, k, 1.0]))[2]) for k in inside]
    cut = (
        ""
        if inside == (first, last)
        else f", cut at the {n} slices of the image (the boxes go from {first} to {last})"
    )
    several = f"; {len(boxes)} boxes, the slices between them too" if len(boxes) > 1 else ""
    return (
        min(z) - _ROUNDING_MM,
        max(z) + _ROUNDING_MM,
        f"stored slices {inside[0]} to {inside[1]} of its boxes{cut}{several}",
    )


LAYOUT = Layout(
    "lld-mmri",
    "boxes in place of masks, as LLD-MMRI has them: images/PATIENT/STUDY/SERIES.nii.gz, labels/Annotation.json",
    LldMmriSettings,
    find,
)
