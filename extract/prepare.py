"""From one scan to its chosen slices: crops in HU around the region."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.config import ExtractSection, MasksSection, SlicesSection
from extract.crops import corners_of, cut_squares, middle_of, size_px
from extract.duplicates import PixelMemory
from extract.masks import Lesions, areas_mm2
from extract.phases import measure_liver
from extract.regions import RegionPlan, read_region
from extract.slice_policy import choose_slices
from extract.volumes import AIR_HU, VolumeError, VolumeFile, open_volume
from pipeline.bags import Source
from pipeline.errors import ImageError, MaskError
from pipeline.slices import PhaseSlices

HIGHEST_FIRST_PERCENTILE_HU = -50.0
"""Every CT slice holds air or fat: its lowest hundredth is below. MR and windowed 8-bit images hold none."""
SPACING_MM = (0.3, 10.0)
"""Distances between voxels that a body CT can have."""
_TUMOUR = "tumour"
_LIVER_SLICES = 8
"""Chosen slices on which the liver is measured: thousands of voxels each, so that more say nothing new."""


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 of the files behind one scan."""

    image: str
    mask: str


@dataclass(frozen=True)
class Preparation:
    """Everything in the configuration that decides what is cut out of a scan."""

    slices: SlicesSection
    masks: MasksSection
    side_mm: float | None
    """Side of the largest square that is wanted; None for the whole slice."""

    @classmethod
    def of(cls, section: ExtractSection) -> "Preparation":
        """Read the settings out of a configuration."""
        sides = [side for side in section.input.scales_mm.values() if side != "whole"]
        whole = len(sides) < len(section.input.scales_mm)
        return cls(section.slices, section.masks, None if whole else max(sides))

    def as_json(self) -> Mapping[str, Any]:
        """Return the settings as plain JSON values, without paths."""
        return {
            "slices": self.slices.model_dump(mode="json", exclude={"z_ranges"}),
            "masks": self.masks.model_dump(mode="json"),
            "side_mm": self.side_mm,
        }


@dataclass(frozen=True, eq=False)
class _Read:
    """A scan with its region and the voxels of the slices around it."""

    plan: RegionPlan
    fingerprint: Fingerprint
    image: VolumeFile
    region: Lesions
    chosen: NDArray[np.intp]
    """Slices of the image."""
    first: int
    """Slice of the image that planes_hu begins with."""
    planes_hu: NDArray[np.int16]

    def planes(self, index: NDArray[np.intp]) -> NDArray[np.int16]:
        """Return whole slices of the image."""
        planes: NDArray[np.int16] = self.planes_hu[index - self.first]
        return planes

    def numbers(self) -> NDArray[np.int16]:
        """Return the lesion numbers on the chosen slices, over the box of the region."""
        numbers: NDArray[np.int16] = self.region.number[self.chosen - self.region.start[0]]
        return numbers


def prepare_scan(
    plan: RegionPlan, fingerprint: Fingerprint, settings: Preparation, pixels: PixelMemory | None = None
) -> PhaseSlices:
    """Read a scan and cut out the chosen slices; `pixels` takes the hashes of the slices that were decoded.

    Raises:
        ImageError: the image is missing, damaged, not in HU, or of implausible spacing.
        MaskError: the mask is missing, damaged, empty or outside of the image, or no slice is left to choose.
    """
    who = {"patient_id": plan.scan.patient_id, "phase": plan.scan.phase}
    try:
        image = open_volume(plan.scan.image, plan.scan.overrides)
        check_spacing(image)
    except VolumeError as error:
        raise ImageError(str(error), **who) from error
    try:
        region = read_region(plan, image, settings.masks)
        chosen = _chosen(region, image, settings.slices)
    except VolumeError as error:
        raise MaskError(str(error), **who) from error
    step = neighbour_step(image, settings.slices)
    first, last = max(0, chosen[0] - step), min(image.grid.shape[0], chosen[-1] + step + 1)
    try:
        planes_hu = image.read_hu(first, last)
        check_hounsfield(image.path, planes_hu)
    except VolumeError as error:
        raise ImageError(str(error), **who) from error
    if pixels is not None:
        pixels.remember(fingerprint.image, planes_hu)
    return _cut(_Read(plan, fingerprint, image, region, chosen, first, planes_hu), settings, step)


def check_spacing(image: VolumeFile) -> None:
    """Refuse a header whose voxels are too small or too large for a body CT.

    Raises:
        VolumeError: a distance between voxels is out of range.
    """
    low, high = SPACING_MM
    if not all(low <= mm <= high for mm in image.grid.spacing_mm):
        found = " x ".join(f"{mm:.3g}" for mm in reversed(image.grid.spacing_mm))
        raise VolumeError(
            f"{image.path}: expected a spacing of {low:g} to {high:g} mm, found {found} mm (x, y, z); set spacing_x, "
            "spacing_y, spacing_z in the cohort table if the header is wrong"
        )


def check_hounsfield(path: Path, planes_hu: NDArray[np.int16]) -> None:
    """Refuse voxels that cannot be CT in Hounsfield units.

    Raises:
        VolumeError: the lowest hundredth of the voxels is too high for air or fat.
    """
    every = max(1, planes_hu.size // 1_000_000)
    low, high = np.percentile(planes_hu.reshape(-1)[::every], (1, 99))
    if low > HIGHEST_FIRST_PERCENTILE_HU:
        raise VolumeError(
            f"{path}: expected CT in HU, with air or fat below {HIGHEST_FIRST_PERCENTILE_HU:.0f} HU on every slice; "
            f"found voxels from {low:.0f} to {high:.0f} (1st to 99th percentile): an MR, a windowed export, or a "
            "missing rescale (set hu_slope and hu_intercept in the cohort table)"
        )


def neighbour_step(image: VolumeFile, section: SlicesSection) -> int:
    """Return how many slices away the neighbours of a slice are; 0 when none are wanted."""
    return max(1, round(section.neighbour_mm / image.grid.spacing_mm[0])) if section.neighbour_mm else 0


def _chosen(region: Lesions, image: VolumeFile, section: SlicesSection) -> NDArray[np.intp]:
    start = region.start[0]
    areas = areas_mm2(region, image.grid.spacing_mm)
    chosen = choose_slices(image.grid.z_mm()[start : start + len(areas)], areas, section)
    if not len(chosen):
        raise VolumeError(
            f"expected a slice with at least {section.minimum_area_mm2:g} mm2 of the mask, found {areas.max():.0f} mm2 "
            "at most"
        )
    return chosen + start


def _liver_hu(read: _Read) -> float | None:
    """Measure the liver on a few of the slices that are decoded anyway."""
    index = read.chosen[:: -(-len(read.chosen) // _LIVER_SLICES)]
    lesions = read.region if read.plan.shows_lesions else None
    return measure_liver(read.plan.scan, read.image, read.planes(index), index, lesions)


def _cut(read: _Read, settings: Preparation, step: int) -> PhaseSlices:
    image, region, chosen = read.image, read.region, read.chosen
    z, row, column = image.grid.spacing_mm
    numbers = read.numbers()
    largest = np.array([np.bincount(n[n > 0]).argmax() for n in numbers], dtype=np.int16)
    in_box = np.array([middle_of(n == own) for n, own in zip(numbers, largest, strict=True)])
    middles = in_box + region.start[1:]
    whole = settings.side_mm is None
    size = image.grid.shape[1:] if settings.side_mm is None else size_px(settings.side_mm, (row, column))
    # A whole slice is a square around the middle of the image, whatever its region.
    around = np.broadcast_to(np.array(size) // 2, middles.shape) if whole else middles

    def squares(index: NDArray[np.intp]) -> NDArray[Any]:
        return cut_squares(read.planes(index), around, size, AIR_HU)

    below, above = np.maximum(chosen - step, 0), np.minimum(chosen + step, image.grid.shape[0] - 1)
    is_tumour = settings.slices.which == _TUMOUR
    areas = areas_mm2(region, image.grid.spacing_mm)[chosen - region.start[0]]
    return PhaseSlices(
        phase=read.plan.scan.phase,
        crops_hu=squares(chosen),
        masks=cut_squares(numbers > 0, around - np.array(region.start[1:]), size, fill=0).astype(np.bool_),
        spacing_mm=(row, column),
        slice_index=chosen.astype(np.int32),
        z_mm=image.grid.z_mm()[chosen],
        tumour_area_mm2=areas if is_tumour else np.zeros_like(areas),
        lesion=largest if is_tumour else np.zeros_like(largest),
        source=Source(
            file=read.plan.scan.image.name,
            image_sha256=read.fingerprint.image,
            mask_sha256=read.fingerprint.mask,
            mask_source=read.plan.mask_source,
            spacing_mm=(column, row, z),
            n_slices=image.grid.shape[0],
        ),
        middle=middles.astype(np.int32) if whole else None,
        corner=corners_of(around, size),
        neighbours=np.stack([squares(below), squares(above)], axis=1) if step else None,
        liver_hu=_liver_hu(read),
    )
