"""Segmentations (DICOM-SEG) and contours (RTSTRUCT): what they name, and which series they belong to."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pydicom
from pydicom.uid import SegmentationStorage

from extract.dicom.contours import drawn_contours
from extract.dicom.geometry import SeriesError
from extract.dicom.headers import UNREADABLE, ImageHeader, in_silence
from extract.dicom.segments import DrawnMask, drawn_segments
from extract.dicom.series import Volume
from pipeline.names import folded

_KNOWN_WORDS = frozenset(
    """
    tumor tumour tumors tumours tumeur tumore lesion lesions liver leber foie hepar hepatic parenchyma remnant mass masses hcc
    icca icc cca chcc met mets metastasis metastases gtv ctv ptv cyst cysts haemangioma hemangioma necrosis viable capsule rim
    ablation zone thrombus portal vein veins artery aorta ivc spleen kidney left right pancreas gallbladder stomach bowel colon
    duodenum heart lung lungs spine body external skin segment roi mask label bladder vessel vessels bile duct
    """.split()  # noqa: SIM905 - a list of words reads better
)
_TAGS = (
    *("SegmentSequence", "ReferencedSeriesSequence", "StructureSetROISequence"),
    "ReferencedFrameOfReferenceSequence",
)
_NUMBERED = 3
"""Digits of a number beside these words; longer ones can be dates and identifiers."""


@dataclass(frozen=True)
class MaskFile:
    """One segmentation or structure set.

    Attributes:
        header: of its file.
        names: of its segments or regions, by their number.
        series: UIDs of the series that it names as its images.
        frames_of_reference: UIDs of the patient coordinates that it is drawn in.
    """

    header: ImageHeader
    names: dict[int, str]
    series: frozenset[str]
    frames_of_reference: frozenset[str]

    @property
    def is_segmentation(self) -> bool:
        """Whether it holds voxels and not contours."""
        return self.header.sop_class == str(SegmentationStorage)

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return "DICOM-SEG" if self.is_segmentation else "RTSTRUCT"

    def numbers(self, wanted: Sequence[str]) -> list[int]:
        """Return the numbers of the regions with one of these names; case and blanks do not matter, and `*` is any text."""
        patterns = [folded(name) for name in wanted]
        return [
            number
            for number, name in self.names.items()
            if any(fnmatch.fnmatchcase(folded(name), pattern) for pattern in patterns)
        ]

    def draw(self, numbers: Sequence[int], volume: Volume) -> DrawnMask:
        """Return regions as one mask, on the grid of a volume where they lie on it.

        Raises:
            SeriesError: they cannot be read, or lie partly outside of the volume.
        """
        draw = drawn_segments if self.is_segmentation else drawn_contours
        with in_silence():
            try:
                return draw(self.header.path, numbers, volume.stack)
            except SeriesError:
                raise
            except UNREADABLE as error:
                raise SeriesError(f"the {self.kind} cannot be read ({type(error).__name__})") from None


def read_mask_file(header: ImageHeader) -> MaskFile:
    """Read what a segmentation or a structure set names.

    Raises:
        SeriesError: it cannot be read.
    """
    with in_silence():
        try:
            dataset = pydicom.dcmread(header.path, stop_before_pixels=True, specific_tags=list(_TAGS))
            if header.sop_class == SegmentationStorage:
                return _segmentation(header, dataset)
            return _structure_set(header, dataset)
        except UNREADABLE as error:
            raise SeriesError(f"its segments or contours cannot be read ({type(error).__name__})") from None


def is_plain(name: str) -> bool:
    """Whether the name of a region is made of words of anatomy and small numbers, so that it names nobody."""
    words = "".join(sign if sign.isalnum() else " " for sign in name.lower()).split()
    parts = [part for word in words for part in _letters_and_digits(word)]
    return bool(parts) and all(
        len(part) < _NUMBERED if part.isdigit() else part in _KNOWN_WORDS for part in parts
    )


def belonging(mask: MaskFile, volumes: Sequence[Volume]) -> tuple[Volume, str]:
    """Return the volume that a mask belongs to, and from what that follows.

    Raises:
        SeriesError: the series that it names is not there, or it names none and several could be meant.
    """
    if mask.series:
        own = [volume for volume in volumes if volume.first.series in mask.series]
        if not own:
            raise SeriesError(
                "the series that it was drawn on is not among those of its patient that can be used"
            )
        return _the_one(own, "the series"), "the series that it names"
    own = [volume for volume in volumes if volume.first.frame_of_reference in mask.frames_of_reference - {""}]
    if not own:
        raise SeriesError("it names no series, and no usable series has its frame of reference")
    return _the_one(own, "the frame of reference"), "the frame of reference, which one series alone has"


def _the_one(own: list[Volume], what: str) -> Volume:
    if len(own) > 1:
        raise SeriesError(
            f"{len(own)} volumes belong to {what} that it names: which one was drawn on is not known"
        )
    return own[0]


def _segmentation(header: ImageHeader, dataset: pydicom.Dataset) -> MaskFile:
    names = {int(item.SegmentNumber): str(item.get("SegmentLabel", "")) for item in dataset.SegmentSequence}
    series = {str(item.SeriesInstanceUID) for item in dataset.get("ReferencedSeriesSequence", ())}
    return MaskFile(header, names, frozenset(series), frozenset({header.frame_of_reference}))


def _structure_set(header: ImageHeader, dataset: pydicom.Dataset) -> MaskFile:
    names = {int(item.ROINumber): str(item.get("ROIName", "")) for item in dataset.StructureSetROISequence}
    frames = {str(item.get("ReferencedFrameOfReferenceUID", "")) for item in dataset.StructureSetROISequence}
    return MaskFile(header, names, frozenset(_contoured_series(dataset)), frozenset(frames))


def _contoured_series(dataset: pydicom.Dataset) -> Iterator[str]:
    for frame in dataset.get("ReferencedFrameOfReferenceSequence", ()):
        for study in frame.get("RTReferencedStudySequence", ()):
            for series in study.get("RTReferencedSeriesSequence", ()):
                yield str(series.SeriesInstanceUID)


def _letters_and_digits(word: str) -> Iterator[str]:
    part = ""
    for sign in word:
        if part and part[-1].isdigit() != sign.isdigit():
            yield part
            part = ""
        part += sign
    yield part
