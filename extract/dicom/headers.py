"""The technical tags of a tree of DICOM files; no other tag is read.

Texts of a header are kept for comparisons only. No message repeats one: what is said of a file is made of numbers and of
words of this package, since any text can hold a name.
"""

import logging
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)
from pydicom.valuerep import DA, TM

ALLOWED_TAGS = (
    # What it is, and what it belongs to.
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "AcquisitionNumber", "TemporalPositionIdentifier"),
    # Compared or hashed only: see `pseudonyms`.
    *("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    # Where its voxels lie and what they mean.
    *(
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
        "GantryDetectorTilt",
    ),
    *(
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "PixelRepresentation",
        "BitsAllocated",
    ),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    "LossyImageCompression",
    # From which the phase is proposed; of the two texts, words that `phase_words` knows.
    *("SeriesDescription", "ProtocolName", "ContrastBolusStartTime"),
    *("AcquisitionDate", "AcquisitionTime"),
)
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError),
    *(MemoryError, BytesLengthException, struct.error, zlib.error),
)
"""What the parsers and decoders of the libraries raise at a damaged file; their texts quote it, and are not repeated."""
_EVERY = 5000
"""Files after which progress is told."""
_QUIET = ("pydicom", "highdicom")


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What is known of one DICOM file.

    Attributes:
        path: the file.
        sop_class: its kind, by UID.
        sop: its own UID.
        series: UID of its series.
        study: UID of its study.
        frame_of_reference: UID of the patient coordinates.
        patient: identifier of the patient with its issuer; private.
        traits: date of birth and sex; private.
        modality: such as CT.
        image_type: such as ORIGINAL, PRIMARY, AXIAL.
        orientation: direction cosines of a row and of a column in LPS; None where absent.
        position_mm: LPS position of the first voxel; None where absent.
        pixel_spacing_mm: distance of rows and of columns; None where absent.
        shape: rows and columns.
        tilt_degrees: as the scanner says; None where it does not.
        slope: HU per stored unit; None where absent.
        intercept: HU of stored 0; None where absent.
        padding: lowest and highest stored value of padding; None where none is declared.
        obstacle: why its voxels cannot be HU of a plain slice; None where they can.
        lossy: whether its voxels went through a lossy compression.
        acquisition: number of the acquisition.
        temporal: identifier of its place in a series in time.
        acquired: when; private but for differences.
        bolus_after_s: seconds from the start of the contrast bolus to the acquisition; None where not known.
        description: text of the series; private but for known words.
        protocol: text of the protocol; private but for known words.
        by_folder: whether its folder stands for the UID of its series.
    """

    path: Path
    sop_class: str
    sop: str
    series: str
    study: str
    frame_of_reference: str = ""
    patient: str = ""
    traits: tuple[str, str] = ("", "")
    modality: str = ""
    image_type: tuple[str, ...] = ()
    orientation: tuple[float, ...] | None = None
    position_mm: tuple[float, ...] | None = None
    pixel_spacing_mm: tuple[float, ...] | None = None
    shape: tuple[int, int] = (0, 0)
    tilt_degrees: float | None = None
    slope: float | None = None
    intercept: float | None = None
    padding: tuple[int, int] | None = None
    obstacle: str | None = None
    lossy: bool = False
    acquisition: str = ""
    temporal: str = ""
    acquired: datetime | None = None
    bolus_after_s: float | None = None
    description: str = ""
    protocol: str = ""
    by_folder: bool = False

    @property
    def is_ct(self) -> bool:
        """Whether it is a single CT image."""
        return self.sop_class == str(CTImageStorage)

    @property
    def is_mask(self) -> bool:
        """Whether it holds segments or contours."""
        return self.sop_class in (SegmentationStorage, RTStructureSetStorage)


@dataclass(frozen=True)
class Tree:
    """The files of a folder.

    Attributes:
        headers: of all DICOM objects, in order of their paths.
        unused: all other files -> the reason.
    """

    headers: tuple[ImageHeader, ...]
    unused: dict[Path, str] = field(default_factory=dict)


@contextmanager
def in_silence() -> Iterator[None]:
    """Keep the DICOM libraries from printing: their warnings quote values of tags."""
    loggers = [logging.getLogger(name) for name in _QUIET]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


def read_tree(paths: Sequence[Path], folder: Path, tell: Callable[[str], None] = lambda _: None) -> Tree:
    """Read the technical tags of files, whatever their names.

    Where the UID of the series was taken away, the files of a folder stand for a series; `ImageHeader.by_folder` says so.

    Args:
        paths: the files.
        folder: where they lie.
        tell: prints a line of progress.
    """
    headers: list[ImageHeader] = []
    unused: dict[Path, str] = {}
    with in_silence():
        for i, path in enumerate(sorted(paths)):
            if i and i % _EVERY == 0:
                tell(f"{i} of {len(paths)} files looked into")
            found = _read(path)
            if isinstance(found, str):
                unused[path] = found
            else:
                headers.append(found if found.series else _of_its_folder(found, folder))
    return Tree(tuple(headers), unused)


def _of_its_folder(header: ImageHeader, folder: Path) -> ImageHeader:
    own = f"folder\0{header.path.parent.relative_to(folder).as_posix()}"
    return replace(header, series=own, study=header.study or own, by_folder=True)


def kind_of(header: ImageHeader) -> str:
    """Return the kind of an object by the dictionary of DICOM, never by its own text."""
    with in_silence():
        uid = UID(header.sop_class)
    return uid.name if uid.name != str(uid) and uid.is_valid else "an object of an unknown class"


def _read(path: Path) -> ImageHeader | str:
    """Return the header of a file, or why there is none."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(ALLOWED_TAGS))
        header = _header(path, dataset)
        if not header.sop_class or header.sop_class == MediaStorageDirectoryStorage:
            return "no DICOM image: a directory (DICOMDIR), or an object without a class"
        return header
    except InvalidDicomError:
        return "no DICOM file"
    except UNREADABLE as error:
        return f"cannot be read as DICOM ({type(error).__name__})"


def _header(path: Path, dataset: pydicom.Dataset) -> ImageHeader:
    acquired = _acquired(dataset)
    return ImageHeader(
        path=path,
        # Some programs that take identities away blank the two in the header; those of the file stay.
        sop_class=_text(dataset, "SOPClassUID") or _text(dataset.file_meta, "MediaStorageSOPClassUID"),
        sop=_text(dataset, "SOPInstanceUID") or _text(dataset.file_meta, "MediaStorageSOPInstanceUID"),
        series=_text(dataset, "SeriesInstanceUID"),
        study=_text(dataset, "StudyInstanceUID"),
        frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
        patient=_identity(dataset),
        traits=(_text(dataset, "PatientBirthDate"), _text(dataset, "PatientSex")),
        modality=_text(dataset, "Modality"),
        image_type=tuple(str(word).upper() for word in _values(dataset, "ImageType")),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        position_mm=_numbers(dataset, "ImagePositionPatient", 3),
        pixel_spacing_mm=_numbers(dataset, "PixelSpacing", 2),
        shape=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        tilt_degrees=_number(dataset, "GantryDetectorTilt"),
        slope=_number(dataset, "RescaleSlope"),
        intercept=_number(dataset, "RescaleIntercept"),
        padding=_padding(dataset),
        obstacle=_obstacle(dataset),
        lossy=_text(dataset, "LossyImageCompression") == "01",
        acquisition=_text(dataset, "AcquisitionNumber"),
        temporal=_text(dataset, "TemporalPositionIdentifier"),
        acquired=acquired,
        bolus_after_s=_bolus_after_s(dataset, acquired),
        description=_text(dataset, "SeriesDescription"),
        protocol=_text(dataset, "ProtocolName"),
    )


def _text(dataset: pydicom.Dataset, tag: str) -> str:
    value = dataset.get(tag)
    return "" if value is None else str(value).strip()


def _values(dataset: pydicom.Dataset, tag: str) -> Sequence[Any]:
    value = dataset.get(tag)
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, (str, int, float)) else tuple(value)


def _numbers(dataset: pydicom.Dataset, tag: str, n: int) -> tuple[float, ...] | None:
    """Return finite numbers of a tag; None where it is absent or holds something else."""
    try:
        numbers = tuple(float(value) for value in _values(dataset, tag))
    except (ValueError, TypeError):
        return None
    return numbers if len(numbers) == n and all(map(math.isfinite, numbers)) else None


def _number(dataset: pydicom.Dataset, tag: str) -> float | None:
    found = _numbers(dataset, tag, 1)
    return found[0] if found else None


def _identity(dataset: pydicom.Dataset) -> str:
    """Return the identifier of the patient, which is unique with its issuer only; empty where there is none."""
    patient = _text(dataset, "PatientID")
    issuer = _text(dataset, "IssuerOfPatientID")
    return f"{patient}\0{issuer}" if patient and issuer else patient


def _acquired(dataset: pydicom.Dataset) -> datetime | None:
    try:
        day, time = DA(_text(dataset, "AcquisitionDate")), TM(_text(dataset, "AcquisitionTime"))
    except ValueError:
        return None
    return datetime.combine(day, time) if day and time else None


def _bolus_after_s(dataset: pydicom.Dataset, acquired: datetime | None) -> float | None:
    try:
        start = TM(_text(dataset, "ContrastBolusStartTime"))
    except ValueError:
        return None
    if acquired is None or not start:
        return None
    return (acquired - datetime.combine(acquired.date(), start)).total_seconds() % 86_400


def _padding(dataset: pydicom.Dataset) -> tuple[int, int] | None:
    value = _number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _number(dataset, "PixelPaddingRangeLimit")
    ends = [_as_stored(dataset, int(end)) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(dataset: pydicom.Dataset, value: int) -> int:
    """Return a padding value in the sign of the voxels: some scanners write -2000 as the unsigned 63536."""
    bits = int(dataset.get("BitsAllocated") or 16)
    signed = dataset.get("PixelRepresentation") == 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _obstacle(dataset: pydicom.Dataset) -> str | None:
    if dataset.get("SOPClassUID") == EnhancedCTImageStorage or int(dataset.get("NumberOfFrames") or 1) > 1:
        return "an enhanced, multi-frame image: export it as single CT images, which every archive can do"
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or _text(dataset, "PhotometricInterpretation") not in (
        "",
        "MONOCHROME2",
    ):
        return "its voxels are colours or inverted, and not HU"
    if _text(dataset, "RescaleType") not in ("", "HU"):
        return "the scanner says that the rescaled voxels are not in HU"
    if _number(dataset, "RescaleSlope") is None or _number(dataset, "RescaleIntercept") is None:
        return "rescale slope or intercept is missing, so that the voxels are no HU"
    if (_number(dataset, "RescaleSlope") or 0) <= 0:
        return "the rescale slope is not above 0, so that the voxels are no HU"
    return None
