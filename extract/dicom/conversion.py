"""CT series written as NIfTI: the voxels in HU, the place, and nothing else of the header.

Converted, and not read in place: see docs/how_to/dicom.md for what was measured.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.dicom.pixels import PixelCounts, hu_of
from extract.dicom.segments import DrawnMask
from extract.dicom.series import Volume
from extract.phantom.nifti import nifti_writer
from pipeline.files import written_whole


@dataclass
class OrganHistogram:
    """Collects the HU of an organ without its tumours, slice by slice."""

    organ: NDArray[np.uint8] | None = None
    tumour: NDArray[np.uint8] | None = None
    _values: list[NDArray[np.int16]] = field(default_factory=list)

    def add(self, z: int, hu: NDArray[np.int16]) -> None:
        """Add a slice."""
        if self.organ is None:
            return
        inside = self.organ[z] > 0
        if self.tumour is not None and self.tumour.shape == self.organ.shape:
            inside &= self.tumour[z] == 0
        self._values.append(hu[inside])

    @property
    def median_hu(self) -> float | None:
        """The median; None where no voxel was seen."""
        values = np.concatenate(self._values) if self._values else np.empty(0, dtype=np.int16)
        return float(np.median(values)) if len(values) else None


def write_volume(volume: Volume, path: Path, organ: OrganHistogram) -> tuple[str, ...]:
    """Write a volume as NIfTI, one slice after the other; return what was done to its voxels.

    Raises:
        SeriesError: a slice cannot be decoded; no file is left.
    """
    counts = PixelCounts()
    with (
        written_whole(path) as sibling,
        nifti_writer(sibling, volume.stack.shape, volume.stack.affine, np.int16) as append,
    ):
        for z, header in enumerate(volume.stack.slices):
            hu = hu_of(header, counts)
            organ.add(z, hu)
            append(hu[None])
    return tuple(counts.remarks())


def write_mask(mask: DrawnMask, path: Path) -> None:
    """Write a mask as NIfTI."""
    n, rows, columns = mask.voxels.shape
    with (
        written_whole(path) as sibling,
        nifti_writer(sibling, (columns, rows, n), mask.affine, np.uint8) as append,
    ):
        append(mask.voxels)
