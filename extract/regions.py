"""The region of a scan that determines its slices and crops: tumour, organ, or a range of z."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from extract.config import ExtractConfig, MasksSection, SlicesSection
from extract.mask_values import MaskRule
from extract.masks import Lesions, read_lesions
from extract.volumes import Grid, VolumeError, VolumeFile
from pipeline.cohort import Cohort, Patient, Scan
from pipeline.cohort_table import Columns, Row, read_user_table
from pipeline.errors import CohortError
from pipeline.names import Vocabulary, phase_vocabulary

DRAWN = "drawn"
_OBLIQUE = 1e-6
"""Axes whose cosine is larger than this are not at right angles."""
_RANGE_COLUMNS = Columns(("patient_id", "phase", "z_from_mm", "z_to_mm"))
Range = tuple[float, float]
Ranges = Mapping[tuple[str, str], Range]
"""(patient_id, phase or empty) -> lowest and highest z in mm."""


@dataclass(frozen=True)
class RegionPlan:
    """Where the region of one scan comes from.

    Attributes:
        scan: the scan whose slices are wanted.
        drawn: the scan whose masks are used; another phase of the patient when they are propagated.
        mask_source: `drawn`, `propagated:<phase>`, `organ`, `z_ranges`, or `none` where nothing was found.
        z_range_mm: the slices to take when no mask is used.
    """

    scan: Scan
    drawn: Scan
    mask_source: str
    z_range_mm: Range | None = None

    @property
    def shows_lesions(self) -> bool:
        """Whether the region is of lesions, and not an organ or whole slices."""
        return self.mask_source.startswith((DRAWN, "propagated:"))

    @property
    def mask_files(self) -> tuple[tuple[str, Path], ...]:
        """(name, path) of every mask file that is read."""
        if self.mask_source == "organ" and self.scan.liver_mask is not None:
            return (("organ", self.scan.liver_mask),)
        return self.drawn.masks if self.shows_lesions else ()

    def mask_rules(self, masks: MasksSection) -> tuple[MaskRule, ...]:
        """Return what is known about the values of these files; the cohort table overrides the configuration."""
        if not self.shows_lesions:
            return (organ_rule(masks),) * len(self.mask_files)
        given = self.drawn.mask_labels or ((),) * len(self.drawn.masks)
        return tuple(MaskRule(labels or masks.labels.tumour, masks.threshold, "tumour") for labels in given)


def organ_rule(masks: MasksSection) -> MaskRule:
    """Return what is known about the values of the masks of the organ."""
    return MaskRule(masks.labels.organ, masks.threshold, "organ")


def plan_region(
    patient: Patient, phase: str, slices: SlicesSection, masks: MasksSection, ranges: Ranges
) -> RegionPlan:
    """Choose the mask or range that defines the region of one phase of a patient."""
    scan = patient.scans[phase]
    if slices.which == "organ":
        return RegionPlan(scan, scan, "organ" if scan.liver_mask else "none")
    if slices.which == "z_ranges":
        found = ranges.get((patient.patient_id, phase), ranges.get((patient.patient_id, "")))
        return RegionPlan(scan, scan, "z_ranges" if found else "none", found)
    if scan.masks:
        return RegionPlan(scan, scan, DRAWN)
    for other in masks.propagate_from:
        if other in patient.scans and patient.scans[other].masks:
            return RegionPlan(scan, patient.scans[other], f"propagated:{other}")
    return RegionPlan(scan, scan, "none")


def read_region(plan: RegionPlan, image: VolumeFile, masks: MasksSection) -> Lesions:
    """Read the region on the grid of the image.

    Raises:
        VolumeError: there is none, or it is empty, damaged or outside of the image.
    """
    if plan.mask_source == "none":
        raise VolumeError(
            f"line {plan.scan.line} of the cohort table has no mask; expected one, or [extract.masks] "
            "propagate_from, or [extract.slices] which = 'organ' or 'z_ranges' with what it needs"
        )
    _check_own_mask(plan, masks)
    if plan.z_range_mm is not None:
        return _planes_in(plan.z_range_mm, image)
    lesions = read_lesions(plan.mask_files, plan.drawn, image, plan.mask_rules(masks))
    propagated = plan.mask_source.startswith("propagated:")
    return grown(lesions, image.grid, masks.margin_mm) if propagated and masks.margin_mm else lesions


def _check_own_mask(plan: RegionPlan, masks: MasksSection) -> None:
    """Refuse the mask of the organ in the cell of the tumour's, but for one map whose labels tell the two apart."""
    organ = plan.drawn.liver_mask
    told = masks.labels.tumour or any(plan.drawn.mask_labels)
    if not plan.shows_lesions or organ is None or not organ.exists() or told:
        return
    for _, path in plan.mask_files:
        if path.exists() and path.samefile(organ):
            raise VolumeError(
                f"{path}: expected a mask of the tumour, found the mask of the organ in its cell, too"
            )


def on_planes(region: Lesions, first: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the region on whole slices from `first` on, bool of `shape` (slices, rows, columns)."""
    inside = np.zeros(shape, dtype=np.bool_)
    z, row, column = region.start
    low, high = max(z, first), min(z + len(region.number), first + shape[0])
    _, height, width = region.number.shape
    inside[low - first : high - first, row : row + height, column : column + width] = (
        region.number[low - z : high - z] > 0
    )
    return inside


def grown(lesions: Lesions, grid: Grid, margin_mm: float) -> Lesions:
    """Dilate lesions by `margin_mm`; an added voxel gets the number of the nearest lesion."""
    # A step of an index leads this far away from the plane of the other two, also where axes are oblique.
    between_planes_mm = 1 / np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]), axis=1)
    reach = np.ceil(margin_mm / between_planes_mm).astype(np.intp)
    start = np.maximum(np.array(lesions.start) - reach, 0)
    stop = np.minimum(np.array(lesions.start) + lesions.number.shape + reach, grid.shape)
    before, after = np.array(lesions.start) - start, stop - lesions.start - lesions.number.shape
    number = np.pad(lesions.number, list(zip(before.tolist(), after.tolist(), strict=True)))
    z, row, column = start.tolist()
    return replace(lesions, number=_nearest(number, grid, margin_mm), start=(z, row, column))


def _nearest(number: NDArray[np.int16], grid: Grid, margin_mm: float) -> NDArray[np.int16]:
    """Give every voxel within the margin the number of the nearest numbered one."""
    steps = grid.affine[:3, :3]
    overlap = steps.T @ steps
    if np.abs(overlap - np.diag(np.diag(overlap))).max() < _OBLIQUE * np.diag(overlap).min():
        distance, nearest = ndimage.distance_transform_edt(
            number == 0, sampling=grid.spacing_mm, return_indices=True
        )
        return np.where(distance <= margin_mm, number[tuple(nearest)], 0).astype(np.int16)
    # A distance transform knows right angles only.
    drawn, free = np.argwhere(number > 0), np.argwhere(number == 0)
    tree = KDTree(drawn @ steps.T)
    distance, place = tree.query(free @ steps.T, distance_upper_bound=np.nextafter(margin_mm, np.inf))
    near = number.copy()
    reached = np.isfinite(distance)
    near[tuple(free[reached].T)] = number[tuple(drawn[place[reached]].T)]
    return near


def read_ranges(table: Path | None, phases: Vocabulary, patients: Collection[str]) -> Ranges:
    """Read the table of z ranges; None gives none.

    Args:
        table: CSV or .xlsx of patient_id, phase (empty for all), z_from_mm, z_to_mm.
        phases: the accepted spellings of phases.
        patients: identifiers of the cohort; the table may name more patients, but must name one of these.

    Raises:
        CohortError: it is missing, lacks a column, or a row has an unknown phase, no finite number, or repeats
            an earlier row; the line is named.
    """
    if table is None:
        return {}
    found = read_user_table(table, _RANGE_COLUMNS, what="table of z ranges")
    if found.faults:
        row, reason = found.faults[0]
        raise CohortError(f"{table}: line {row.line}: {reason}")
    ranges: dict[tuple[str, str], Range] = {}
    for row in found.rows:
        key = row["patient_id"], _phase_of(table, row, phases)
        if key in ranges:
            raise CohortError(f"{table}: line {row.line}: a second range of {' '.join(key)}; expected one")
        ranges[key] = _z_mm(table, row, "z_from_mm"), _z_mm(table, row, "z_to_mm")
    if not {patient_id for patient_id, _ in ranges} & set(patients):
        raise CohortError(
            f"{table}: expected identifiers of the cohort table, such as {next(iter(patients), '')!r}, found none; the "
            f"first is {found.rows[0]['patient_id']!r}"
        )
    return ranges


def ranges_of(config: ExtractConfig, cohort: Cohort) -> Ranges:
    """Read the table of z ranges that a configuration names, if any.

    Raises:
        CohortError: it cannot be used.
    """
    patients = [patient.patient_id for patient in cohort.patients]
    return read_ranges(config.extract.slices.z_ranges, phase_vocabulary(config.cohort), patients)


def _phase_of(table: Path, row: Row, phases: Vocabulary) -> str:
    if not row["phase"]:
        return ""
    phase = phases.find(row["phase"])
    if phase is None:
        raise CohortError(f"{table}: line {row.line}: {phases.problem(row['phase'])}")
    return phase


def _z_mm(table: Path, row: Row, column: str) -> float:
    try:
        z_mm = float(row[column])
    except ValueError:
        z_mm = math.nan
    if not math.isfinite(z_mm):
        raise CohortError(
            f"{table}: line {row.line}: {column} is {row[column]!r}; expected a number in mm, with a decimal point"
        )
    return z_mm


def _planes_in(z_range_mm: Range, image: VolumeFile) -> Lesions:
    low, high = sorted(z_range_mm)
    z_mm: NDArray[np.float32] = image.grid.z_mm()
    inside = np.flatnonzero((z_mm >= low) & (z_mm <= high))
    if not len(inside):
        raise VolumeError(
            f"{image.path}: expected slices within z {low:g} to {high:g} mm, found the image at z {z_mm.min():.0f} "
            f"to {z_mm.max():.0f} mm"
        )
    number = np.ones((len(inside), *image.grid.shape[1:]), dtype=np.int16)
    return Lesions(number, (int(inside[0]), 0, 0), 0.0, resampled=False)
