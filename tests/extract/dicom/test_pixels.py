"""Voxels in HU: by the slope and intercept of each slice, padding as air, compressed ones as they were before."""

import gdcm
import numpy as np
import pytest

from extract.dicom.geometry import SeriesError
from extract.dicom.headers import read_tree
from extract.dicom.pixels import PixelCounts, hu_of
from tests.extract.conftest import draw_scan
from tests.extract.dicom.scanner import compress, store, write_series

HU = draw_scan(shape=(16, 12, 2))[0]


def header_of(path):
    (header,) = read_tree([path], path.parent).headers
    return header


def read(paths) -> tuple[np.ndarray, PixelCounts]:
    counts = PixelCounts()
    return np.stack([hu_of(header_of(path), counts) for path in paths]).transpose(2, 1, 0), counts


def test_every_slice_has_its_own_slope_and_intercept(tmp_path):
    """1000 stored is 2 * 1000 - 1500 = 500 HU on the first slice and 1000 - 1024 = -24 HU on the second."""

    def scale(dataset, z):
        store(dataset, np.full((12, 16), 1000, dtype=np.uint16))
        dataset.RescaleSlope, dataset.RescaleIntercept = ((2, -1500), (1, -1024))[z]

    hu, _ = read(write_series(tmp_path, HU, change=scale))
    assert np.unique(hu[:, :, 0]) == 500
    assert np.unique(hu[:, :, 1]) == -24


def test_fractions_of_a_hu_are_rounded_and_counted(tmp_path):
    def scale(dataset, z):
        store(dataset, np.full((12, 16), 3, dtype=np.uint16))
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, 0.25

    hu, counts = read(write_series(tmp_path, HU[:, :, :1], change=scale))
    assert np.unique(hu) == 2
    assert list(counts.remarks()) == ["192 voxels rounded to whole HU"]


@pytest.mark.parametrize("written", [-2000, 63536])
def test_padding_is_air_and_counted(tmp_path, written):
    """63536 is -2000 as an unsigned number, as some scanners write it."""

    def pad(dataset, z):
        stored = np.full((12, 16), 40, dtype=np.int16)
        stored[0] = -2000
        store(dataset, stored)
        dataset.RescaleIntercept = 0
        dataset.add_new("PixelPaddingValue", "US" if written > 0 else "SS", written)

    hu, counts = read(write_series(tmp_path, HU[:, :, :1], change=pad))
    assert np.unique(hu).tolist() == [-1024, 40]
    assert list(counts.remarks()) == ["16 voxels of padding taken as air (-1024 HU)"]


def test_padding_that_nothing_declares_is_air_and_counted(tmp_path):
    def pad(dataset, z):
        stored = np.full((12, 16), 40, dtype=np.int16)
        stored[:2] = -3024
        store(dataset, stored)
        dataset.RescaleIntercept = 0

    hu, counts = read(write_series(tmp_path, HU[:, :, :1], change=pad))
    assert np.unique(hu).tolist() == [-1024, 40]
    assert list(counts.remarks()) == [
        "32 voxels below -1024 HU that are not declared as padding taken as air"
    ]


def test_padding_with_the_value_of_tissue_is_refused(tmp_path):
    (path,) = write_series(tmp_path, HU[:, :, :1], PixelPaddingValue=1024 + 40)
    with pytest.raises(SeriesError, match="the declared padding is a value of 40 HU, which tissue has, too"):
        hu_of(header_of(path), PixelCounts())


def test_an_overlay_in_the_unused_bits_is_no_part_of_a_voxel(tmp_path):
    """12 bits are stored in 16; old scanners draw graphics into the others."""

    def draw(dataset, z):
        stored = np.full((12, 16), 1064, dtype=np.uint16)
        stored[3] |= 0x8000
        store(dataset, stored)
        dataset.BitsStored, dataset.HighBit = 12, 11

    assert np.unique(read(write_series(tmp_path, HU[:, :, :1], change=draw))[0]) == 40


def test_metal_above_16_bits_is_cut_and_counted(tmp_path):
    def metal(dataset, z):
        store(dataset, np.full((12, 16), 65535, dtype=np.uint16))

    hu, counts = read(write_series(tmp_path, HU[:, :, :1], change=metal))
    assert np.unique(hu) == 32767
    assert list(counts.remarks()) == ["192 voxels above 32767 HU taken as 32767"]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [
        gdcm.TransferSyntax.JPEG2000Lossless,
        gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        gdcm.TransferSyntax.JPEGLSLossless,
        gdcm.TransferSyntax.RLELossless,
    ],
    ids=["JPEG-2000", "JPEG lossless", "JPEG-LS", "run lengths"],
)
def test_compressed_voxels_are_those_before_compression(tmp_path, syntax, signed):
    def sign(dataset, z):
        if signed:
            store(dataset, np.ascontiguousarray(HU[:, :, z].T))
            dataset.RescaleIntercept = 0

    paths = write_series(tmp_path, HU, change=sign)
    for path in paths:
        compress(path, syntax)
    np.testing.assert_array_equal(read(paths)[0], HU)


def test_voxels_that_cannot_be_decoded_are_refused_without_a_text_of_the_file(tmp_path):
    (path,) = write_series(tmp_path, HU[:, :, :1], change=lambda dataset, z: delattr(dataset, "PixelData"))
    with pytest.raises(SeriesError, match=r"^the voxels of a slice cannot be decoded \(\w+\)$"):
        hu_of(header_of(path), PixelCounts())
