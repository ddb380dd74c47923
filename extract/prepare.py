"""From one scan to its chosen slices: crops in HU around the region."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.config import TUMOUR, ExtractSection, MasksSection, SlicesSection
from extract.crops import Size, coarser, corners_of, cut_squares, middle_of, size_px
from extract.duplicates import PixelMemory
from extract.findings import Finding, Kind, errors_of, reason_of
from extract.masks import Lesions, areas_mm2
from extract.measuring import measure_lesions
from extract.radiomics_boxes import Radiomics, ScanBox, box_of_lesions
from extract.radiomics_settings import RadiomicsSection, described_radiomics
from extract.reading import ScanReading, neighbour_step, read_scan
from extract.regions import RegionPlan, on_planes
from extract.scales import Box, box_around, slab_around
from extract.slabs import box_of_slabs, cut_box, slices_of_slabs
from extract.volumes import AIR_HU, VolumeFile
from pipeline import measures
from pipeline.bags import Source
from pipeline.errors import ImageError, MaskError, ScanError
from pipeline.slices import PhaseSlices, SlabPlanes

_READING = 2
"""Raised when voxels come to mean something else than before; what was prepared earlier is prepared anew."""


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 of the files behind one scan."""

    image: str
    mask: str
    organ: str = ""
    """Of the mask of the organ, which judges the HU; empty where there is none to be read."""


@dataclass(frozen=True)
class Preparation:
    """Everything in the configuration that decides what is cut out of a scan."""

    slices: SlicesSection
    masks: MasksSection
    side_mm: float | None
    """Side of the largest square that is wanted; None for the whole slice."""
    slab: Box | None = None
    """The box that holds every slab that is wanted; None for slices alone."""
    radiomics: RadiomicsSection | None = None
    """None: none are computed."""

    @classmethod
    def of(cls, section: ExtractSection) -> "Preparation":
        """Read the settings out of a configuration."""
        return cls.for_all([section])

    @classmethod
    def for_all(cls, sections: Sequence[ExtractSection]) -> "Preparation":
        """Return the settings whose squares and slabs hold those of every section; slices and masks are the same in all."""
        boxes = [box for section in sections for box in section.input.boxes.values()]
        return cls(
            sections[0].slices,
            sections[0].masks,
            box_around(boxes).side_mm,
            slab_around(boxes),
            sections[0].radiomics,
        )

    @property
    def depth_mm(self) -> float:
        """Depth of the deepest slab; 0 for slices alone."""
        return (self.slab and self.slab.depth_mm) or 0.0

    def as_json(self) -> Mapping[str, Any]:
        """Return the settings as plain JSON values, without paths.

        Raises:
            ConfigError: radiomics are wanted, and their extra is not installed.
        """
        of_radiomics = {} if self.radiomics is None else {"radiomics": described_radiomics(self.radiomics)}
        slab = {"slab": {"side_mm": self.slab.side_mm, "depth_mm": self.slab.depth_mm}} if self.slab else {}
        return {
            **slab,
            "slices": self.slices.model_dump(mode="json", exclude={"z_ranges"}),
            "masks": self.masks.model_dump(mode="json"),
            "side_mm": self.side_mm,
            "reading": _READING,
            "measures": measures.VERSION if self.slices.which == TUMOUR else None,
            **of_radiomics,
        }


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """What became of one scan: its slices or its fault, and everything that was found about it."""

    findings: tuple[Finding, ...]
    slices: PhaseSlices | None
    fault: ScanError | None


def prepare_scan(
    plan: RegionPlan,
    fingerprint: Fingerprint,
    settings: Preparation,
    pixels: PixelMemory | None = None,
    measure: Callable[[ScanBox | None], Radiomics] | None = None,
) -> PreparedScan:
    """Read a scan and cut out the chosen slices.

    Args:
        plan: where the region comes from.
        fingerprint: hashes of the files.
        settings: what is cut out.
        pixels: takes the hashes of the slices that were decoded.
        measure: computes the radiomics of a box, or of None for a scan that has none; left out, there are none.
    """
    wanted = settings.radiomics if measure is not None else None
    reading = read_scan(plan, settings.slices, settings.masks, settings.depth_mm, wanted)
    found = tuple(reading.findings)
    fault = fault_of(plan, found)
    image, region, planes_hu = reading.image, reading.region, reading.planes_hu
    if fault is not None or image is None or region is None or planes_hu is None:
        return PreparedScan(found, None, fault)
    if pixels is not None:
        pixels.remember(fingerprint.image, planes_hu)
    slices = _cut(_Read(reading, fingerprint, image, region, planes_hu), settings)
    if wanted is not None and measure is not None:
        box = None
        if reading.around_hu is not None:
            box = box_of_lesions(
                reading.around_hu, reading.around_first, region, wanted, image.grid.spacing_mm
            )
        of_scan = measure(box)
        slices = replace(slices, radiomics=of_scan.values)
        found += tuple(Finding(Kind.RADIOMICS, remark) for remark in of_scan.remarks)
    return PreparedScan(found, slices, None)


def fault_of(plan: RegionPlan, found: Iterable[Finding]) -> ScanError | None:
    """Return for what a scan is left out, in one error; None where nothing forbids its use."""
    errors = errors_of(found)
    if not errors:
        return None
    of_mask = errors[0].kind in (Kind.MASK, Kind.SLICES)
    kind = MaskError if of_mask else ImageError
    return kind(reason_of(errors), patient_id=plan.scan.patient_id, phase=plan.scan.phase)


@dataclass(frozen=True, eq=False)
class _Read:
    """A reading without a fault, in which nothing is missing."""

    reading: ScanReading
    fingerprint: Fingerprint
    image: VolumeFile
    region: Lesions
    planes_hu: NDArray[np.int16]

    def planes(self, index: NDArray[np.intp]) -> NDArray[np.int16]:
        """Return whole slices of the image."""
        planes: NDArray[np.int16] = self.planes_hu[index - self.reading.first]
        return planes

    def source(self) -> Source:
        """Say what lies behind the slices."""
        plan, (z, row, column) = self.reading.plan, self.image.grid.spacing_mm
        return Source(
            file=plan.scan.image.name,
            image_sha256=self.fingerprint.image,
            mask_sha256=self.fingerprint.mask,
            mask_source=plan.mask_source,
            spacing_mm=(column, row, z),
            n_slices=self.image.grid.shape[0],
            n_before_thinning=self.reading.n_before_thinning,
        )


def _cut(read: _Read, settings: Preparation) -> PhaseSlices:
    image, region, chosen = read.image, read.region, read.reading.chosen
    numbers = region.number[chosen - region.start[0]]
    largest = np.array([np.bincount(n[n > 0]).argmax() for n in numbers], dtype=np.int16)
    in_box = np.array([middle_of(n == own) for n, own in zip(numbers, largest, strict=True)])
    middles = in_box + region.start[1:]
    _, row, column = image.grid.spacing_mm
    whole = settings.side_mm is None
    size = image.grid.shape[1:] if settings.side_mm is None else size_px(settings.side_mm, (row, column))
    # A whole slice is a square around the middle of the image, whatever its region.
    around = np.broadcast_to(np.array(size) // 2, middles.shape) if whole else middles

    def squares(index: NDArray[np.intp]) -> NDArray[Any]:
        return cut_squares(read.planes(index), around, size, AIR_HU)

    step = neighbour_step(image, settings.slices)
    below, above = np.maximum(chosen - step, 0), np.minimum(chosen + step, image.grid.shape[0] - 1)
    is_tumour = settings.slices.which == TUMOUR
    areas = areas_mm2(region, image.grid)[chosen - region.start[0]]
    context_hu, context_step = coarser(read.planes(chosen))
    return PhaseSlices(
        phase=read.reading.plan.scan.phase,
        crops_hu=squares(chosen),
        masks=cut_squares(numbers > 0, around - np.array(region.start[1:]), size, fill=0).astype(np.bool_),
        spacing_mm=(row, column),
        slice_index=chosen.astype(np.int32),
        z_mm=image.grid.z_mm()[chosen],
        tumour_area_mm2=areas if is_tumour else np.zeros_like(areas),
        lesion=largest if is_tumour else np.zeros_like(largest),
        source=read.source(),
        middle=middles.astype(np.int32) if whole else None,
        corner=corners_of(around, size),
        neighbours=np.stack([squares(below), squares(above)], axis=1) if step else None,
        liver_hu=read.reading.organ_hu,
        measures=measure_lesions(read.planes(chosen), chosen, region, image.grid) if is_tumour else None,
        context_hu=context_hu,
        context_step=context_step,
        planes=_cut_planes(read, settings.slab, middles) if settings.slab else None,
    )


def _cut_planes(read: _Read, slab: Box, middles: NDArray[np.intp]) -> SlabPlanes:
    """Cut the box out of a scan that holds the slabs of all chosen slices."""
    image, reading = read.image, read.reading
    z_mm, row_mm, column_mm = image.grid.spacing_mm
    n, *shape = image.grid.shape
    plane: Size = shape[0], shape[1]
    around, size = middles, plane
    if slab.side_mm is None:
        around = np.broadcast_to(np.array(plane) // 2, middles.shape)
    else:
        size = size_px(slab.side_mm, (row_mm, column_mm))
    first, stop = slices_of_slabs(reading.chosen, slab.depth_mm or 0.0, z_mm, n)
    whole = SlabPlanes(
        hu=read.planes_hu[first - reading.first : stop - reading.first],
        masks=on_planes(read.region, first, (stop - first, *plane)),
        first=(first, 0, 0),
    )
    return cut_box(whole, first, stop, box_of_slabs(around, size, plane))
