"""The measures that stage 1 writes into a bag: their names, units and what each is.

A name with a code is that of the Image Biomarker Standardisation Initiative (IBSI), and is computed as it says; the
other names are of this project. Densities, the greatest diameter on the slice and the circularity are of all tumour, or
the largest part of it, on the slice (`slice_measures`). Volume, diameter and sphericity in three dimensions are of the
largest lesion of the slice in the whole scan (`lesion_shape`), and stand on each of the slices of that lesion.
"""

from dataclasses import dataclass

SPHERICITY = "sphericity_smoothed"
VERSION = 1
"""Raised when a measure comes to be another number; bags and slices made before are then made anew."""


@dataclass(frozen=True)
class Measure:
    """One column of /measures.

    Attributes:
        name: as in measure_names.
        unit: as in measure_units.
        meaning: in one line.
        field: of SliceMeasures that it is; empty for one of the lesion in three dimensions.
    """

    name: str
    unit: str
    meaning: str
    field: str = ""


MEASURES: tuple[Measure, ...] = (
    Measure("stat_median", "HU", "median density of the lesion on the slice (IBSI Y12H)", "lesion_hu"),
    Measure("parenchyma_hu", "HU", "median density of the parenchyma around it", "parenchyma_hu"),
    Measure("contrast_hu", "HU", "lesion minus parenchyma", "contrast_hu"),
    Measure("core_contrast_hu", "HU", "core of the lesion minus parenchyma", "core_contrast_hu"),
    Measure("rim_minus_core_hu", "HU", "rim minus core of the lesion", "rim_minus_core_hu"),
    Measure(
        "border_hu", "HU", "3 mm around the lesion minus the brighter of rim and parenchyma", "border_hu"
    ),
    Measure("heterogeneity_hu", "HU", "spread of the smoothed lesion about its profile", "heterogeneity_hu"),
    Measure("diameter_2d_mm", "mm", "greatest diameter on the slice", "diameter_mm"),
    Measure("circularity", "", "4 pi area / perimeter^2 on the slice", "circularity"),
    Measure("morph_vol_approx", "mm3", "volume of the lesion by counting voxels (IBSI YEKZ)"),
    Measure("morph_diam", "mm", "greatest diameter of the lesion in three dimensions (IBSI L0JK)"),
    Measure(SPHERICITY, "", "sphericity of the lesion, its surface smoothed by a voxel"),
)

MEASURE_NAMES = tuple(measure.name for measure in MEASURES)
MEASURE_UNITS = tuple(measure.unit for measure in MEASURES)
