"""One picture of the cohort: patients in rows, phases in columns, the tumour outlined."""

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from pipeline.cohort import Cohort, Patient, Scan
from pipeline.errors import CohortError
from pipeline.files import written_whole

WINDOW_HU = (-100, 250)
_AIR_HU = -500


def write_montage(path: Path, cohort: Cohort, phases: tuple[str, ...], *, rows: int = 9) -> None:
    """Write a PNG of up to `rows` patients, classes in turn, at the slice where the tumour is largest.

    Raises:
        CohortError: an image or a mask is missing or damaged.
    """
    chosen = _classes_in_turn(cohort.patients)[:rows]
    figure = Figure(figsize=(3.0 * len(phases), 2.35 * len(chosen)), layout="constrained", facecolor="black")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(chosen), len(phases), squeeze=False)
    for patient, row in zip(chosen, axes, strict=True):
        for phase, cell in zip(phases, row, strict=True):
            _show(cell, patient.scans.get(phase), f"{patient.patient_id}  {patient.label}  {phase}")
    with written_whole(path) as sibling, sibling.open("wb") as stream:
        canvas.print_png(stream)


def _classes_in_turn(patients: tuple[Patient, ...]) -> list[Patient]:
    groups: dict[str, list[Patient]] = {}
    for patient in patients:
        groups.setdefault(patient.label or "", []).append(patient)
    ranked = [(rank, name, p) for name, group in groups.items() for rank, p in enumerate(group)]
    return [patient for _, _, patient in sorted(ranked, key=lambda entry: entry[:2])]


def _show(cell: Axes, scan: Scan | None, title: str) -> None:
    cell.set_axis_off()
    cell.set_title(title, color="white", fontsize=7, pad=2)
    if scan is None:
        cell.text(0.5, 0.5, "not acquired", color="grey", ha="center", va="center", transform=cell.transAxes)
        return
    image, spacing = _canonical(scan.image)
    mask = _canonical(scan.masks[0][1])[0] if scan.masks else np.zeros(image.shape)
    index = int(np.argmax((mask > 0).sum(axis=(0, 1)))) if scan.masks else image.shape[2] // 2
    low, high = WINDOW_HU
    body = _body(image[:, :, index])
    cell.imshow(
        _as_seen(image[:, :, index][body]), cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0]
    )
    if scan.masks:
        cell.contour(_as_seen(mask[:, :, index][body]), levels=[0.5], colors="tab:orange", linewidths=0.6)


def _body(plane: NDArray[Any]) -> tuple[slice, slice]:
    """Return the part of an (x, y) plane that is not air."""
    x, y = (np.flatnonzero((plane > _AIR_HU).any(axis=axis)) for axis in (1, 0))
    return slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1)


def _canonical(path: Path) -> tuple[NDArray[Any], tuple[float, ...]]:
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        return np.asarray(image.dataobj), image.header.get_zooms()
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError) as error:
        raise CohortError(
            f"{path}: not as `phantom` wrote it: {error}; remove the cohort table to have the cohort written again"
        ) from error


def _as_seen(plane: NDArray[Any]) -> NDArray[Any]:
    """Turn an (x, y) plane of a RAS+ array as radiologists look at it: patient's right on the left."""
    return plane[::-1, ::-1].T
