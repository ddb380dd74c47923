"""The HU of the lesion-free organ in one phase, from which the levels of the windows count."""

from dataclasses import dataclass

import numpy as np

from extract.config import ORGAN, InputSection
from pipeline.measures import MEASURE_NAMES
from pipeline.slices import PhaseSlices

LEVEL_WITHOUT_HU = 40.0
"""Takes the place of a reference that cannot be had: the level of the usual absolute window of the abdomen."""
_PARENCHYMA = MEASURE_NAMES.index("parenchyma_hu")


@dataclass(frozen=True)
class Reference:
    """What stands for the organ in one phase.

    Attributes:
        hu: None where nothing could be measured, and windows are absolute.
        is_of_mask: measured in the mask of the organ, and not in the ring of parenchyma around the tumour.
    """

    hu: float | None
    is_of_mask: bool

    @property
    def level_hu(self) -> float:
        """The HU from which the levels of windows count."""
        return LEVEL_WITHOUT_HU if self.hu is None else self.hu


def reference_of(slices: PhaseSlices) -> Reference:
    """Return the median HU of the organ where its mask is given; else of the ring of parenchyma around the tumour.

    The ring is that of `pipeline.slice_measures`, 4 to 15 mm around the tumour: the median over the slices of the phase.
    """
    if slices.liver_hu is not None:
        return Reference(slices.liver_hu, is_of_mask=True)
    if slices.measures is None or np.isnan(slices.measures[:, _PARENCHYMA]).all():
        return Reference(None, is_of_mask=False)
    return Reference(float(np.nanmedian(slices.measures[:, _PARENCHYMA])), is_of_mask=False)


def level_hu(slices: PhaseSlices, section: InputSection) -> float:
    """Return the HU from which the levels of the windows of one phase count; 0 for absolute windows."""
    return reference_of(slices).level_hu if section.reference == ORGAN else 0.0


def remark_on(slices: PhaseSlices, section: InputSection) -> str | None:
    """Say what stands in for the organ of a phase; None where it was measured in its mask, or nobody asked."""
    found = reference_of(slices)
    if section.reference != ORGAN or found.is_of_mask:
        return None
    if found.hu is None:
        return (
            "no reference: neither a mask of the organ nor enough parenchyma around a tumour; its windows are absolute, "
            f"about {LEVEL_WITHOUT_HU:g} HU"
        )
    return f"no mask of the organ: the parenchyma around the tumour, {found.hu:.0f} HU, is the reference"
