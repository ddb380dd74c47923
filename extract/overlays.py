"""Attention of stage 2 as NIfTI overlays on the grid of the scans, for 3D Slicer, ITK-SNAP and the like.

Stage 2 reads no scan and stage 1 reads no model; stage 1 takes the attention from the table attention.csv.
"""

import gzip
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from extract.config import ExtractConfig, MasksSection
from extract.itk_volumes import is_itk_file
from extract.regions import RegionPlan, plan_region, ranges_of, read_region
from extract.volumes import DISPLAY, VolumeError, VolumeFile, open_volume
from pipeline.cohort import read_cohort
from pipeline.errors import ResultsError
from pipeline.files import written_whole
from pipeline.tables import TABLES, TableStyle, read_table

ATTENTION = f"{TABLES}/attention.csv"
FOLDER = "overlays"
Weights = Mapping[tuple[str, str], Mapping[int, float]]
"""(patient_id, phase) -> slice index from 0 -> attention relative to equal weights (1: average)."""


@dataclass(frozen=True)
class Overlays:
    """The overlays that were written, and the faults of those that were not."""

    paths: tuple[Path, ...]
    faults: tuple[str, ...]


def write_overlays(
    config: ExtractConfig, *, model: str | None = None, patients: Collection[str] = ()
) -> Overlays:
    """Write overlays/<patient>_<phase>_attention.nii.gz for every scan in attention.csv.

    Each voxel of the tumour holds the attention of its slice relative to equal weights, every other voxel 0.
    The overlay has the voxel grid and the affine of the file of the scan, also where the cohort table corrects
    its header.

    Args:
        config: of the experiment; attention.csv lies in its output folder.
        model: whose attention; None takes the first model of the table.
        patients: whose scans; empty for all.

    Raises:
        ResultsError: there is no attention.csv, or it lacks the model or patient.
    """
    weights = read_weights(config.results_folder / ATTENTION, model, patients)
    section = config.extract
    cohort = read_cohort(config.cohort)
    ranges = ranges_of(config, cohort)
    people = {patient.patient_id: patient for patient in cohort.patients}
    paths, faults = [], []
    for (patient_id, phase), of_slice in weights.items():
        path = config.results_folder / FOLDER / f"{patient_id}_{phase}_attention.nii.gz"
        try:
            plan = plan_region(people[patient_id], phase, section.slices, section.masks, ranges)
            _write(path, plan, of_slice, section.masks)
            paths.append(path)
        except (VolumeError, KeyError) as error:
            faults.append(f"patient {patient_id}, phase {phase}: {error}")
    return Overlays(tuple(paths), tuple(faults))


def read_weights(path: Path, model: str | None, patients: Collection[str]) -> Weights:
    """Read the attention of one model; the attention of a slice is the sum over its scales.

    Raises:
        ResultsError: the table is missing, or lacks the model or patient.
    """
    style = _style_of(path)
    rows = read_table(path, style=style)
    models = list(dict.fromkeys(row["model"] for row in rows))
    model = models[0] if model is None and models else model
    chosen = [
        row
        for row in rows
        if row["model"] == model and row["patient_id"] in (patients or (row["patient_id"],))
    ]
    if not chosen:
        asked = f"model {model!r}" + (f", patients {', '.join(patients)}" if patients else "")
        raise ResultsError(
            f"{path}: no attention of {asked}; the table has {', '.join(models) or 'no model'}"
        )
    found: dict[tuple[str, str], dict[int, float]] = {}
    counts: dict[str, int] = {}
    for row in chosen:
        of_slice = found.setdefault((row["patient_id"], row["phase"]), {})
        index = int(row["slice_number"]) - 1
        of_slice[index] = of_slice.get(index, 0.0) + float(row["weight"].replace(style.decimal, "."))
    for (patient_id, _), of_slice in found.items():
        counts[patient_id] = counts.get(patient_id, 0) + len(of_slice)
    return {key: {i: w * counts[key[0]] for i, w in of_slice.items()} for key, of_slice in found.items()}


def _style_of(path: Path) -> TableStyle:
    """Tell a table for spreadsheets with a decimal comma from the usual one."""
    try:
        head = path.read_text(encoding="utf-8").partition("\n")[0]
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: no such table; run `aggregate.py run` with this configuration first, or, where the results of an "
            f"earlier release lie there, `aggregate.py tables {path.parent.parent}`"
        ) from None
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: expected a CSV table in UTF-8, found: {error}") from error
    return TableStyle(";", ",") if ";" in head else TableStyle()


def _write(path: Path, plan: RegionPlan, of_slice: Mapping[int, float], masks: MasksSection) -> None:
    image = open_volume(plan.scan.image, plan.scan.overrides)
    region = read_region(plan, image, masks)
    drawn = np.zeros(image.grid.shape, dtype=np.float32)
    where = tuple(slice(a, a + n) for a, n in zip(region.start, region.number.shape, strict=True))
    drawn[where] = region.number > 0
    weights = np.zeros(len(drawn), dtype=np.float32)
    weights[list(of_slice)] = list(of_slice.values())
    _save(path, drawn * weights[:, None, None], image)


def _save(path: Path, overlay: NDArray[np.float32], image: VolumeFile) -> None:
    """Write a volume in display order with the axes and the geometry that the file of the scan has.

    Readers differ in which of the two affines of a NIfTI file they trust: both are the scan's, with their codes.
    """
    back = nib.orientations.ornt_transform(DISPLAY, nib.orientations.axcodes2ornt(image.stored_codes))
    stored = nib.apply_orientation(overlay, back)
    volume = nib.Nifti1Image(stored, image.header_affine)
    if is_itk_file(image.path):
        volume.set_sform(image.header_affine, code="scanner")
        volume.header.set_xyzt_units("mm")
    else:
        scan = nib.Nifti1Image.from_filename(image.path)
        volume.set_sform(*scan.get_sform(coded=True))
        volume.set_qform(*scan.get_qform(coded=True))
        volume.header.set_xyzt_units(*scan.header.get_xyzt_units())
    volume.header["descrip"] = b"attention relative to equal weights"
    volume.header["cal_max"] = float(overlay.max())
    with written_whole(path) as sibling:
        sibling.write_bytes(gzip.compress(volume.to_bytes(), compresslevel=1))
