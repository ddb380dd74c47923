"""concepts.csv and concept_slices.csv: radiological measurements per patient and per slice."""

from aggregate.tables.shared_columns import LABEL, PATIENT_ID, PHASE, SLICE_NUMBER
from aggregate.tables.table import Column, Kind, Step, Table

CONCEPTS = Table(
    "concepts.csv",
    "patient",
    (
        PATIENT_ID,
        LABEL,
        Column("arterial_hyperenhancement_hu", "Lesion minus parenchyma, arterial phase", "HU", Kind.NUMBER),
        Column(
            "nonrim_hyperenhancement_hu",
            "Core of the lesion minus parenchyma, arterial phase",
            "HU",
            Kind.NUMBER,
        ),
        Column(
            "washout_hu",
            (
                "Nonperipheral washout: the smaller of the core's loss of contrast since the arterial phase and the "
                "parenchyma minus the core; the smallest value of the later phases"
            ),
            "HU",
            Kind.NUMBER,
        ),
        Column("washout_ratio", "100 x parenchyma / lesion, delayed phase", "%", Kind.NUMBER),
        Column("rim_arterial_hu", "Rim minus core, arterial phase", "HU", Kind.NUMBER),
        Column("rim_portal_hu", "Rim minus core, portal venous phase", "HU", Kind.NUMBER),
        Column("rim_delayed_hu", "Rim minus core, delayed phase", "HU", Kind.NUMBER),
        Column(
            "progressive_enhancement_hu",
            "Core minus parenchyma in the delayed phase, minus the same in the arterial phase",
            "HU",
            Kind.NUMBER,
        ),
        Column(
            "capsule_hu",
            "Border 3 mm around the lesion minus the brighter of its rim and the parenchyma, largest value of the later phases",
            "HU",
            Kind.NUMBER,
        ),
        Column(
            "heterogeneity_hu",
            (
                "Robust standard deviation of the smoothed lesion (2 mm) around its profile from edge to core, median "
                "of the enhanced phases"
            ),
            "HU",
            Kind.NUMBER,
        ),
        Column("diameter_mm", "Greatest in-plane diameter, median of the phases", "mm", Kind.NUMBER),
        Column(
            "volume_ml", "Tumour volume from areas and slice spacing, median of the phases", "ml", Kind.NUMBER
        ),
        Column(
            "sphericity",
            (
                "Sphericity of the largest connected part, median of the phases: 1 for a ball, less for a lobulated or "
                "elongated lesion; empty for fewer than 3 slices"
            ),
            "0 to 1",
            Kind.NUMBER,
        ),
    ),
    place=220,
    step=Step.EXPLANATIONS,
    notes=(
        "Imaging features of LI-RADS v2018, measured in HU inside and around the contours relative to the "
        "parenchyma of the same slice. Empty if the phases that a sign needs are missing."
    ),
)
CONCEPT_SLICES = Table(
    "concept_slices.csv",
    "patient x phase x slice",
    (
        PATIENT_ID,
        PHASE,
        SLICE_NUMBER,
        Column("lesion_hu", "Median of the tumour", "HU", Kind.NUMBER),
        Column("parenchyma_hu", "Median of the tissue 4 to 15 mm around the tumour", "HU", Kind.NUMBER),
        Column("contrast_hu", "Lesion minus parenchyma", "HU", Kind.NUMBER),
        Column(
            "core_contrast_hu", "Core (inner half of the lesion's depth) minus parenchyma", "HU", Kind.NUMBER
        ),
        Column("rim_minus_core_hu", "Rim (outer 35 % of the lesion's depth) minus core", "HU", Kind.NUMBER),
        Column(
            "border_hu",
            "Border 3 mm around the lesion minus the brighter of its rim and the parenchyma",
            "HU",
            Kind.NUMBER,
        ),
        Column(
            "heterogeneity_hu",
            "Robust standard deviation of the smoothed lesion (2 mm) around its profile from edge to core",
            "HU",
            Kind.NUMBER,
        ),
        Column("diameter_mm", "Greatest diameter of the largest connected part", "mm", Kind.NUMBER),
        Column("circularity", "4 pi area / perimeter^2 of the largest connected part", "0 to 1", Kind.NUMBER),
    ),
    place=230,
    step=Step.EXPLANATIONS,
)
