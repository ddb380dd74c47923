"""Read one scan up to its last wanted slice, with all findings about it.

`check` and `run` both read scans here, so that they report the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from traceback import format_exception
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from extract.config import MasksSection, SlicesSection
from extract.findings import Finding, Kind
from extract.masks import Lesions, areas_mm2
from extract.phases import measure_liver
from extract.plausibility import check_hounsfield, check_not_air, check_organ_hu, check_share, check_spacing
from extract.radiomics_boxes import planes_needed
from extract.radiomics_settings import RadiomicsSection
from extract.regions import RegionPlan, on_planes, organ_rule, read_region
from extract.slabs import slices_of_slabs
from extract.slice_policy import choose_slices, slices_with_region
from extract.volumes import PADDING_HU, VolumeError, VolumeFile, open_volume
from pipeline.run_log import detail

Result = TypeVar("Result")
_ORGAN_SLICES = 8
"""Chosen slices on which the organ is measured: thousands of voxels each, so more slices add nothing."""
_NOT_CHECKED = "the mask of the organ cannot be used, and the order of the phases is not checked"
_SHARE_TOLD = 0.01
"""A smaller share of the mask's box outside of the image is rounding of the two grids."""


@dataclass(eq=False)
class ScanReading:
    """A scan, its region and the voxels of the slices around it; what could not be read is None.

    Attributes:
        plan: where the region comes from.
        slices: which slices of it are wanted.
        masks: the configuration of masks.
        radiomics: that are computed of the scan; None without.
        findings: everything found so far.
        image: its header.
        region: the lesions, the organ or the range of slices.
        chosen: intp (n,), slices of the image.
        n_before_thinning: number of slices of the region before thinning.
        first: index of the first slice of planes_hu in the image.
        planes_hu: int16 (m, rows, columns); where no slice was chosen, the middle one of the image.
        organ_hu: median HU of the organ without lesions; None without a mask of it.
        around_first: index of the first slice of around_hu in the image.
        around_hu: int16 (m, rows, columns), the slices that radiomics need, at least those of planes_hu; None without.
    """

    plan: RegionPlan
    slices: SlicesSection
    masks: MasksSection
    radiomics: RadiomicsSection | None = None
    findings: list[Finding] = field(default_factory=list)
    image: VolumeFile | None = None
    region: Lesions | None = None
    chosen: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    n_before_thinning: int = 0
    first: int = 0
    planes_hu: NDArray[np.int16] | None = None
    organ_hu: float | None = None
    around_first: int = 0
    around_hu: NDArray[np.int16] | None = None

    def note(self, kind: Kind, reason: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, reason))

    def attempt(self, kind: Kind, step: Callable[[], Result]) -> Result | None:
        """Return the result of a step, or None if it fails; the failure becomes a finding.

        So one scan ends no run, whatever its header makes a library raise; but a fault of the machine, an OSError, does.
        """
        try:
            return step()
        except VolumeError as error:
            self.note(kind, str(error))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - what libraries raise at a hostile header cannot be listed
            file = self.plan.scan.image.name
            self.note(
                kind,
                f"{file}: cannot be used, or its mask: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            )
            detail("".join(format_exception(error)).rstrip())
        return None


def read_scan(
    plan: RegionPlan,
    slices: SlicesSection,
    masks: MasksSection,
    depth_mm: float = 0.0,
    radiomics: RadiomicsSection | None = None,
) -> ScanReading:
    """Read a scan up to its last wanted slice, with slabs of `depth_mm` around the slices, and collect all findings about it.

    A fault does not end the checks: the voxels of the image are checked even if the mask is bad.
    """
    reading = ScanReading(plan, slices, masks, radiomics)
    image = reading.attempt(Kind.IMAGE, lambda: open_volume(plan.scan.image, plan.scan.overrides))
    if image is None:
        return reading
    reading.image = image
    reading.attempt(Kind.SPACING, lambda: check_spacing(image))
    if image.doubt:
        reading.note(Kind.PLACE, f"{image.path}: {image.doubt}")
    region = reading.attempt(Kind.MASK, lambda: read_region(plan, image, masks))
    if region is not None:
        reading.region = region
        _choose(reading, region, image)
    reading.attempt(Kind.IMAGE, lambda: _read_planes(reading, image, depth_mm))
    if reading.planes_hu is not None and region is not None and len(reading.chosen):
        _judge_masks(reading, region, image, reading.planes_hu)
    return reading


def neighbour_step(image: VolumeFile, section: SlicesSection) -> int:
    """Return the distance to the neighbours of a slice, in slices; 0 if none are wanted."""
    return max(1, round(section.neighbour_mm / image.grid.spacing_mm[0])) if section.neighbour_mm else 0


def _choose(reading: ScanReading, region: Lesions, image: VolumeFile) -> None:
    for doubt in region.doubts:
        reading.note(Kind.PLACE, doubt)
    for remark in region.remarks:
        reading.note(Kind.VALUES, remark)
    if region.resampled:
        reading.note(Kind.RESAMPLED, "the mask is on another grid and was resampled in patient coordinates")
    if region.share_outside > _SHARE_TOLD:
        reading.note(Kind.OUTSIDE, f"{region.share_outside:.0%} of the mask's box lies outside of the image")
    n = len(np.unique(region.number[region.number > 0]))
    if n > 1:
        reading.note(Kind.LESIONS, f"{n} separate lesions")
    start, areas = region.start[0], areas_mm2(region, image.grid)
    chosen = choose_slices(image.grid.z_mm()[start : start + len(areas)], areas, reading.slices)
    reading.chosen = chosen + start
    reading.n_before_thinning = len(slices_with_region(areas, reading.slices))
    if not len(chosen):
        reading.note(
            Kind.SLICES,
            f"expected a slice with at least {reading.slices.minimum_area_mm2:g} mm2 of the mask, found "
            f"{areas.max():.0f} mm2 at most",
        )


def _read_planes(reading: ScanReading, image: VolumeFile, depth_mm: float) -> None:
    """Read the chosen slices with their neighbours and slabs, or the middle of the image where there are none."""
    n = image.grid.shape[0]
    if len(reading.chosen):
        step = neighbour_step(image, reading.slices)
        first, stop = slices_of_slabs(reading.chosen, depth_mm, image.grid.spacing_mm[0], n)
        first = max(0, min(first, int(reading.chosen[0]) - step))
        stop = min(n, max(stop, int(reading.chosen[-1]) + step + 1))
    else:
        first, stop = n // 2, n // 2 + 1
    low, high = _around(reading, image, first, stop)
    around = image.read(low, high)
    stored = around[first - low : stop - low]
    planes_hu = image.to_hu(stored)
    lowest = image.lowest_hu(stored)
    if lowest <= PADDING_HU:
        reading.note(Kind.PADDING, f"padding of {lowest:.0f} HU is taken as air")
    reading.attempt(Kind.HOUNSFIELD, lambda: check_hounsfield(image.path, image.sampled_hu(stored)))
    reading.first, reading.planes_hu = first, planes_hu
    if reading.radiomics is not None:
        reading.around_first = low
        reading.around_hu = reading.attempt(Kind.RADIOMICS, lambda: image.to_hu(around))


def _around(reading: ScanReading, image: VolumeFile, first: int, stop: int) -> tuple[int, int]:
    """Return the range of slices that holds another one and what radiomics need, so that a scan is decoded once."""
    if reading.radiomics is None or reading.region is None or not len(reading.chosen):
        return first, stop
    grid = image.grid
    low, high = planes_needed(reading.region, reading.radiomics, grid.spacing_mm, grid.shape[0])
    return min(low, first), max(high, stop)


def _judge_masks(
    reading: ScanReading, region: Lesions, image: VolumeFile, planes_hu: NDArray[np.int16]
) -> None:
    if any(finding.kind is Kind.HOUNSFIELD for finding in reading.findings):
        return  # where the body lies is not known
    plan = reading.plan
    n_before = len(reading.findings)
    if plan.mask_files:
        path, structure = plan.mask_files[0][1], "tumour" if plan.shows_lesions else "organ"
        inside = on_planes(region, reading.first, planes_hu.shape)
        reading.attempt(Kind.MASK, lambda: check_share(path, inside, planes_hu, structure))
        reading.attempt(Kind.HOUNSFIELD, lambda: check_not_air(path, inside, planes_hu, reading.first))
    if len(reading.findings) > n_before or plan.scan.liver_mask is None:
        return
    organ_hu = reading.attempt(Kind.ORGAN, lambda: _organ_hu(reading, region, image, planes_hu))
    if organ_hu is not None:
        reading.organ_hu = organ_hu
        reading.attempt(Kind.HOUNSFIELD, lambda: check_organ_hu(image.path, organ_hu))


def _organ_hu(
    reading: ScanReading, region: Lesions, image: VolumeFile, planes_hu: NDArray[np.int16]
) -> float:
    """Measure the organ on a few of the slices that are decoded anyway.

    Raises:
        VolumeError: its mask cannot be used, and so the order of the phases not be checked.
    """
    plan, rule = reading.plan, organ_rule(reading.masks)
    index = reading.chosen[:: -(-len(reading.chosen) // _ORGAN_SLICES)]
    lesions = region if plan.shows_lesions else None
    try:
        found = measure_liver(plan.scan, image, planes_hu[index - reading.first], index, lesions, rule=rule)
    except VolumeError as error:
        raise VolumeError(f"{_NOT_CHECKED}: {error}") from error
    if found is None:
        raise VolumeError(
            f"{_NOT_CHECKED}: {plan.scan.liver_mask}: too little of the organ on the {len(index)} slices looked at"
        )
    return found
