"""Voxels of CT images in HU.

Compressed images (JPEG-2000, JPEG lossless, JPEG-LS) are decoded by GDCM, uncompressed and run-length ones by pydicom.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, RLELossless

from extract.dicom.geometry import SeriesError
from extract.dicom.headers import UNREADABLE, ImageHeader, in_silence
from extract.volumes import AIR_HU

_DECODER = "gdcm"
_HIGHEST_PADDING_HU = -900
"""A padding value above this is one that tissue has, too."""
_INT16 = np.iinfo(np.int16)


@dataclass
class PixelCounts:
    """What was done to voxels.

    Attributes:
        padding: voxels of the declared padding value, made air.
        below_air: further voxels below air, made air.
        above: voxels above the highest number of 16 bits, made that number.
        rounded: voxels that were no whole HU.
    """

    padding: int = 0
    below_air: int = 0
    above: int = 0
    rounded: int = 0

    def remarks(self) -> Iterator[str]:
        """Say what was done."""
        if self.padding:
            yield f"{self.padding} voxels of padding taken as air ({AIR_HU} HU)"
        if self.below_air:
            yield f"{self.below_air} voxels below {AIR_HU} HU that are not declared as padding taken as air"
        if self.above:
            yield f"{self.above} voxels above {_INT16.max} HU taken as {_INT16.max}"
        if self.rounded:
            yield f"{self.rounded} voxels rounded to whole HU"


def hu_of(header: ImageHeader, counts: PixelCounts) -> NDArray[np.int16]:
    """Return int16 (rows, columns): a slice in HU by its own slope and intercept, padding as air.

    Raises:
        SeriesError: it cannot be decoded, or its padding is a value of tissue.
    """
    stored = stored_pixels(header)
    slope, intercept = header.slope, header.intercept
    if slope is None or intercept is None:
        raise SeriesError("rescale slope or intercept is missing")
    exact = stored * np.float64(slope) + intercept
    hu = np.rint(exact)
    if (hu != exact).any():
        counts.rounded += int((hu != exact).sum())
    if header.padding is not None:
        low, high = header.padding
        padding = (stored >= low) & (stored <= high)
        highest = max(low * slope, high * slope) + intercept
        if highest > _HIGHEST_PADDING_HU and padding.any():
            raise SeriesError(
                f"the declared padding is a value of {highest:g} HU, which tissue has, too; expected one below "
                f"{_HIGHEST_PADDING_HU} HU"
            )
        counts.padding += int(padding.sum())
        hu[padding] = AIR_HU
    counts.below_air += int((hu < AIR_HU).sum())
    counts.above += int((hu > _INT16.max).sum())
    clipped: NDArray[np.int16] = np.clip(hu, AIR_HU, _INT16.max).astype(np.int16)
    return clipped


def stored_pixels(header: ImageHeader) -> NDArray[np.integer]:
    """Return (rows, columns): the voxels of an image as stored.

    Raises:
        SeriesError: they cannot be decoded.
    """
    with in_silence():
        try:
            syntax = UID(pydicom.filereader.read_file_meta_info(header.path).TransferSyntaxUID)
            plugin = _DECODER if syntax.is_compressed and syntax != RLELossless else ""
            if plugin and plugin not in get_decoder(syntax).available_plugins:
                raise SeriesError(
                    f'the voxels are compressed ({syntax.name}), and nothing here decodes them: pip install "phasemil[dicom]"'
                )
            pixels: NDArray[np.integer] = pixel_array(header.path, decoding_plugin=plugin, raw=True)
        except UNREADABLE as error:
            if isinstance(error, SeriesError):
                raise
            raise SeriesError(f"the voxels of a slice cannot be decoded ({type(error).__name__})") from None
    if pixels.shape != header.shape:
        raise SeriesError(
            f"expected {header.shape[0]} x {header.shape[1]} voxels in a slice, found {pixels.shape}"
        )
    return pixels


def same_pixels(a: ImageHeader, b: ImageHeader) -> bool:
    """Whether two images have equal voxels in HU.

    Raises:
        SeriesError: one cannot be decoded.
    """
    return (
        a.shape == b.shape
        and (a.slope, a.intercept) == (b.slope, b.intercept)
        and np.array_equal(stored_pixels(a), stored_pixels(b))
    )
