"""Segments of a DICOM-SEG as a mask, read by highdicom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from extract.dicom.geometry import SeriesError, Stack
from extract.dicom.headers import ImageHeader
from extract.volumes import Grid

_SAME_COSINE = 1e-3
_SAME_MM = 0.05
"""Programs write numbers of a place rounded."""


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """A mask.

    Attributes:
        voxels: uint8 (slice, row, column), 1 inside.
        affine: float64 (4, 4), from (column, row, slice, 1) to RAS+ millimetres.
        remarks: what was decided on the way.
        doubts: what somebody has to look at.
    """

    voxels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def drawn_segments(path: Path, numbers: Sequence[int], stack: Stack) -> DrawnMask:
    """Return segments as one mask: on the grid of the images where it lies on it, else on its own.

    Frames find their slices by the UID of the image that they were drawn on; where frames name none, by their position.

    Raises:
        SeriesError: the segmentation is fractional, or was drawn on slices that the volume lacks.
    """
    segmentation = highdicom.seg.segread(path)
    if segmentation.segmentation_type.value == "FRACTIONAL":
        raise SeriesError("expected segments that a voxel is in or not in, found shares (FRACTIONAL)")
    sources = _sources(segmentation, numbers)
    if sources is None:
        return _by_position(segmentation, numbers, stack)
    of_stack = [header.sop for header in stack.slices]
    lacking = len(set(sources) - set(of_stack))
    if lacking:
        raise SeriesError(f"it was drawn on {lacking} slices that are not in the volume")
    if not _lie_as_images(segmentation, sources, stack):
        return _by_position(segmentation, numbers, stack)
    frames = segmentation.get_pixels_by_source_instance(
        source_sop_instance_uids=of_stack,
        segment_numbers=list(numbers),
        combine_segments=False,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    return DrawnMask(frames.any(axis=-1).astype(np.uint8), stack.affine)


def _sources(
    segmentation: highdicom.seg.Segmentation, numbers: Sequence[int]
) -> Mapping[str, list[Dataset]] | None:
    """Return the frames of segments by the UID of the image that they were drawn on; None where not every frame names one."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    sources: dict[str, list[Dataset]] = {}
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        identified, derived = (
            frame.get(name) or shared.get(name) or ()
            for name in ("SegmentIdentificationSequence", "DerivationImageSequence")
        )
        if not identified:
            return None
        if int(identified[0].ReferencedSegmentNumber) not in numbers:
            continue
        own = {
            str(image.ReferencedSOPInstanceUID)
            for item in derived
            for image in item.get("SourceImageSequence", ())
        }
        if len(own) != 1:
            return None
        sources.setdefault(own.pop(), []).append(frame)
    return sources


def _lie_as_images(
    segmentation: highdicom.seg.Segmentation, sources: Mapping[str, list[Dataset]], stack: Stack
) -> bool:
    """Whether frames lie pixel by pixel on the images that they name; some programs turn them, or write them on another grid."""
    if (int(segmentation.Rows), int(segmentation.Columns)) != stack.slices[0].shape:
        return False
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    by_sop = {header.sop: header for header in stack.slices}
    return all(_lies_as(frame, shared, by_sop[sop]) for sop, frames in sources.items() for frame in frames)


def _lies_as(frame: Dataset, shared: Dataset, image: ImageHeader) -> bool:
    """Whether what a frame says of its place is that of an image; what it does not say is no objection."""
    for sequence, tag, of_image, tolerance in (
        ("PlaneOrientationSequence", "ImageOrientationPatient", image.orientation, _SAME_COSINE),
        ("PlanePositionSequence", "ImagePositionPatient", image.position_mm, _SAME_MM),
        ("PixelMeasuresSequence", "PixelSpacing", image.pixel_spacing_mm, _SAME_MM),
    ):
        items = frame.get(sequence) or shared.get(sequence) or ()
        told = items[0].get(tag) if items else None
        if told and not np.allclose(
            np.array(told, dtype=np.float64), of_image or np.nan, rtol=0, atol=tolerance
        ):
            return False
    return True


def _by_position(segmentation: highdicom.seg.Segmentation, numbers: Sequence[int], stack: Stack) -> DrawnMask:
    """Return segments as one mask on their own grid, or on that of the volume where each of its voxels lies on it."""
    volume = segmentation.get_volume(segment_numbers=list(numbers), combine_segments=False)
    inside = volume.array.any(axis=-1)  # (slice, row, column) of the segmentation
    columns_first = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine[:, [2, 1, 0, 3]]
    columns, rows, n = stack.shape
    grid = Grid((n, rows, columns), stack.affine[:, [2, 1, 0, 3]])
    to_stack = np.linalg.inv(stack.affine) @ columns_first
    placed = np.rint(to_stack)
    own = Grid((inside.shape[0], inside.shape[1], inside.shape[2]), (stack.affine @ placed)[:, [2, 1, 0, 3]])
    exact = Grid(own.shape, columns_first[:, [2, 1, 0, 3]])
    index = np.argwhere(inside)[:, ::-1]  # (column, row, slice)
    target = (placed[:3, :3] @ index.T + placed[:3, 3:]).T.astype(np.intp)
    if not own.is_same_as(exact) or len(target) == 0 or not _within(target, stack.shape):
        remark = "the segmentation lies on another grid than its images, and is kept on its own"
        return DrawnMask(inside.astype(np.uint8), columns_first, (remark,))
    voxels = np.zeros(grid.shape, dtype=np.uint8)
    voxels[target[:, 2], target[:, 1], target[:, 0]] = 1
    return DrawnMask(voxels, stack.affine, ("frames of the segmentation found their slices by position",))


def _within(index: NDArray[np.intp], shape: tuple[int, int, int]) -> bool:
    return bool((index >= 0).all() and (index < np.array(shape)).all())
