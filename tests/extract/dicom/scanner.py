"""CT series, segmentations and structure sets as scanners and workstations write them."""

import zlib
from collections.abc import Callable
from pathlib import Path

import gdcm
import highdicom
import numpy as np
import pydicom
from highdicom.seg import SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage

ROOT_UID = "1.2.826.0.1.3680043.10.543"
Change = Callable[[Dataset, int], None]


def uid(name: str) -> str:
    """Return the same UID for the same name."""
    return f"{ROOT_UID}.{zlib.crc32(name.encode())}"


def write_series(
    folder: Path,
    hu: NDArray[np.int16],
    *,
    patient: str = "0815",
    study: str = "study",
    series: str = "series",
    spacing: tuple[float, float, float] = (1.0, 1.0, 3.0),
    change: Change = lambda dataset, z: None,
    **tags: object,
) -> list[Path]:
    """Write voxels (x, y, z) in LPS as one file for each slice; names and instance numbers tell no order.

    Args:
        folder: is made where it is missing.
        hu: the voxels.
        patient: identifier.
        study: name of the study.
        series: name of the series.
        spacing: along x, y, z.
        change: is given every dataset with the number of its slice before it is written.
        tags: further ones, by keyword.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    n = hu.shape[2]
    for z in range(n):
        sop = uid(f"{patient} {study} {series} {z}")
        dataset = _slice(hu[:, :, z], sop)
        dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = patient, "", ""
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(study), uid(f"{study} {series}")
        dataset.FrameOfReferenceUID = uid(f"{study} place")
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, z * spacing[2]]
        dataset.InstanceNumber = n - z
        for tag, value in tags.items():
            setattr(dataset, tag, value)
        change(dataset, z)
        name = f"{zlib.crc32(sop.encode()):08x}"
        dataset.save_as(folder / name, enforce_file_format=True)
        paths.append(folder / name)
    return paths


def _slice(hu: NDArray[np.int16], sop: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, sop
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, sop, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    store(dataset, (hu.T.astype(np.int32) + 1024).astype(np.uint16))
    return dataset


def store(dataset: Dataset, stored: NDArray[np.integer]) -> None:
    """Give a dataset stored voxels (rows, columns)."""
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()


def compress(path: Path, syntax: int) -> None:
    """Compress an image in place; `syntax` is one of gdcm.TransferSyntax."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def write_segmentation(
    path: Path, images: list[Path], masks: dict[str, NDArray[np.uint8]], *, only: slice = slice(None)
) -> Path:
    """Write masks (x, y, z) by name as a DICOM-SEG of a series; `only` some of its slices are given to the writer."""
    sources = [pydicom.dcmread(image) for image in images][only]
    for source in sources:
        source.AccessionNumber = source.StudyID = source.PatientName = source.ReferringPhysicianName = ""
        source.StudyDate = source.StudyTime = None
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, start=1)
    ]
    pixels = np.stack([mask.transpose(2, 1, 0)[only] for mask in masks.values()], axis=-1)
    highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=uid(f"{path.name} series"),
        series_number=99,
        sop_instance_uid=uid(path.name),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)
    return path


def write_structures(
    path: Path, image: Path, regions: dict[str, list[list[tuple[float, float, float]]]]
) -> Path:
    """Write closed contours in LPS mm by the name of their region as an RTSTRUCT of the series of an image."""
    source = pydicom.dcmread(image, stop_before_pixels=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, uid(path.name)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = (
        RTStructureSetStorage,
        uid(path.name),
        "RTSTRUCT",
    )
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = source.StudyInstanceUID, uid(f"{path.name} series")
    dataset.PatientID = source.PatientID
    dataset.ReferencedFrameOfReferenceSequence = [
        _item(
            FrameOfReferenceUID=source.FrameOfReferenceUID,
            RTReferencedStudySequence=[
                _item(RTReferencedSeriesSequence=[_item(SeriesInstanceUID=source.SeriesInstanceUID)])
            ],
        )
    ]
    dataset.StructureSetROISequence = [
        _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID)
        for number, name in enumerate(regions, start=1)
    ]
    dataset.ROIContourSequence = [
        _item(
            ReferencedROINumber=number,
            ContourSequence=[
                _item(
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[value for point in points for value in point],
                )
                for points in contours
            ],
        )
        for number, contours in enumerate(regions.values(), start=1)
    ]
    dataset.save_as(path, enforce_file_format=True)
    return path


def _item(**tags: object) -> Dataset:
    item = Dataset()
    for tag, value in tags.items():
        setattr(item, tag, value)
    return item
