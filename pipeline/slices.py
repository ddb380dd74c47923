"""Slices ready to be embedded: crops in HU with their masks, before any windowing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import Source


@dataclass(frozen=True, eq=False)
class SlabPlanes:
    """A box of a scan that holds the slabs around all its chosen slices, as far as these lie within the scan.

    Attributes:
        hu: int16 (planes, rows, columns), consecutive slices of the scan, oriented and in HU as the crops are.
        masks: bool (planes, rows, columns), tumour on the same voxels.
        first: slice, row and column of the scan at which the box begins.
    """

    hu: NDArray[np.int16]
    masks: NDArray[np.bool_]
    first: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class PhaseSlices:
    """The chosen slices of one phase of one patient, as crops around the tumour.

    Attributes:
        phase: phase name.
        crops_hu: int16 (n, height, width), Hounsfield units at the native in-plane spacing, air where a crop
            extends beyond the image; rows run from anterior to posterior and columns from the patient's
            right to left, as radiologists look at them.
        masks: bool (n, height, width), tumour on the same pixels.
        spacing_mm: (row, column) pixel spacing of the crops.
        slice_index: int32 (n,), 0-based along z of the canonical array, inferior to superior.
        z_mm: float32 (n,), patient coordinate of the slice centre.
        tumour_area_mm2: float32 (n,), over the whole slice, not only the crop; 0 where no tumour was drawn.
        lesion: int16 (n,), largest lesion on the slice, from 1; 0 where no tumour was drawn.
        source: the files behind the phase.
        middle: int32 (n, 2), row and column of the crops around which smaller squares are cut; None for the
            middle of the crop.
        corner: int32 (n, 2), row and column of the image at which each crop begins, below zero where it reaches
            out; None in a store of a release that did not keep it.
        neighbours: int16 (n, 2, height, width), the same square below and above, for 2.5D; None without.
        liver_hu: median HU of the lesion-free liver on some of the slices; None without a liver mask.
        context_hu: int16 (n, rows, columns), the whole slices, each pixel the mean of `context_step` x `context_step` pixels of
            the image; None in a store of a release that did not keep them.
        context_step: pixels of the image along the side of a pixel of the context.
        measures: float32 (n, m), in the order of `pipeline.measures.MEASURES`, NaN where one cannot be had; None where
            no tumour was drawn.
        planes: what slabs around the slices are cut out of; None where no slab was wanted. Spacing along z and number of slices
            of the scan are those of the source.
        radiomics: region and name of each radiomics feature of the phase, as in `lesion.stat_mean` -> value, NaN where it
            cannot be had; None where they were not computed.
    """

    phase: str
    crops_hu: NDArray[np.int16]
    masks: NDArray[np.bool_]
    spacing_mm: tuple[float, float]
    slice_index: NDArray[np.int32]
    z_mm: NDArray[np.float32]
    tumour_area_mm2: NDArray[np.float32]
    lesion: NDArray[np.int16]
    source: Source
    middle: NDArray[np.int32] | None = None
    corner: NDArray[np.int32] | None = None
    neighbours: NDArray[np.int16] | None = None
    liver_hu: float | None = None
    measures: NDArray[np.float32] | None = None
    context_hu: NDArray[np.int16] | None = None
    context_step: int = 1
    planes: SlabPlanes | None = None
    radiomics: Mapping[str, float] | None = None

    def __len__(self) -> int:
        return len(self.crops_hu)
