"""The published numbers behind the phantom, with their sources; nothing is computed here.

Sources:
    MCT: MCT-LTDiag, Sci Data 2026;13:31, per-tumour table `meta/meta_info_tumor.csv`, counted over 103 HCC and
        100 iCCA.
    Granata: Granata 2020, PMC7276649, 11 cHCC-CCA on MDCT.
    Gigante: Gigante 2019, Liver Int 39:2386, 21 cHCC-CCA.
    Beaufrère: JHEP Rep 2024;6:101008, share of HCC-like tiles per cHCC-CCA slide.
    AJR: "MDCT of the Liver and Hypervascular HCC: Optimizing Scan Delays", enhancement per organ.
    PLC: PLC-CECT, Sci Data s41597-025-05125-2, and WAW: WAW-TACE, liver medians per phase; PLC, ages and sexes.
    ECV: sciety rs-7651673, extracellular volume; and PMID 23255745, PMID 16365567, lesion minus liver.
    Noise: PLoS One 0156830 (thick slices), PMC6220000 and PMC5278542 (thin slices).
Numbers marked [A] are assumptions of this phantom; no source gives them.
"""

from collections.abc import Mapping
from typing import Literal

PhaseName = Literal["NC", "AP", "PVP", "DP"]
ClassName = Literal["HCC", "iCCA", "cHCC-CCA"]
PHASES: tuple[PhaseName, ...] = ("NC", "AP", "PVP", "DP")
CLASSES: tuple[ClassName, ...] = ("HCC", "iCCA", "cHCC-CCA")

MARKERS = ("nonrim_aphe", "rim_aphe", "washout", "capsule", "progressive")
"""The five signs of the joint table: LI-RADS v2018 majors but size, and the targetoid signs of LR-M."""

N, R, W, C, P = MARKERS
PATTERNS: Mapping[str, Mapping[tuple[str, ...], int]] = {
    # MCT, 103 tumours. Its "other 2" are resolved to (W,) and (C,), the split its marginals (48 % washout,
    # 23 % capsule) allow. 11 % show nothing.
    "HCC": {
        (N,): 35,
        (N, W): 32,
        (N, W, C): 16,
        (N, C): 7,
        (): 11,
        (W,): 1,
        (C,): 1,
    },
    # MCT, 100 tumours: 23 % show nothing, 15 % look like HCC. Progressive enhancement is not in that table:
    # it goes with the rim in 86 % (peripheral arterial with progression in mass-forming iCCA, ijcem series).
    "iCCA": {
        (R, P): 50,
        (R,): 8,
        (): 23,
        (N,): 8,
        (N, W): 7,
        (N, R, P): 3,
        (W,): 1,
    },
    # Marginals from Granata (APHE 36 %, washout 55 %, capsule 18 %, progressive 64 %) and Gigante (48 % mixed:
    # a sign of HCC beside one of iCCA); how they fall together, and the rim, are [A].
    "cHCC-CCA": {
        (N, W): 7, (N, W, C): 5, (W,): 5, (N,): 3,
        (R, P): 11, (P,): 5, (R,): 4,
        (N, W, P): 6, (N, W, C, P): 5, (N, R, P): 7, (N, P): 3,
        (W, P): 9, (R, W, P): 10, (W, C, P): 4, (R, W, C, P): 4,
        (): 12,
    },
}  # fmt: skip
"""Class -> signs present together -> count. Each tumour has exactly one of these patterns."""

LOBULATED = {"HCC": 0.06, "iCCA": 0.34, "cHCC-CCA": 0.20}
"""MCT; cHCC-CCA [A], halfway."""
CIRRHOSIS = {"HCC": 0.66, "iCCA": 0.14, "cHCC-CCA": 0.40}
"""MCT; cHCC-CCA [A], halfway."""

ANCILLARY_TARGETOID = {"satellites": 0.30, "retraction": 0.25, "biliary_dilatation": 0.25, "mosaic": 0.0}
ANCILLARY_NONRIM = {"satellites": 0.12, "retraction": 0.0, "biliary_dilatation": 0.0, "mosaic": 0.35}
"""[A]: no frequency per class was found, so these signs depend on the pattern of markers and on nothing else
(never with an empty pattern). They tell an observer no more about the class than the pattern does."""
NECROSIS = 0.30
"""[A] Share of tumours over 50 mm with necrosis, the same in each class."""

AGE = {"HCC": (57.3, 9.0), "iCCA": (63.6, 11.2), "cHCC-CCA": (56.3, 7.9)}
MALE = {"HCC": 0.80, "iCCA": 0.55, "cHCC-CCA": 0.67}
"""PLC."""

DIAMETER = {"HCC": (59.0, 38.0, 89.0), "iCCA": (71.0, 47.0, 97.0), "cHCC-CCA": (33.5, 22.0, 51.0)}
"""Median and quartiles of the largest 3D diameter in mm: MCT; cHCC-CCA median Granata, quartiles [A] from
its range 20 to 80."""
DIAMETER_POOLED = (60.0, 38.0, 93.0)
"""For every class when size is to say nothing: HCC and iCCA of MCT pooled."""
DIAMETER_LIMITS = (18.0, 110.0)

FRACTION = (0.05, 0.97)
"""Range of the HCC-like share of a cHCC-CCA (Beaufrère)."""

HuRow = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
ORGANS: Mapping[str, HuRow] = {
    "liver": ((57, 7), (72, 9), (103, 12), (86, 9)),  # MCT, PLC
    "liver_cirrhotic": ((49, 7), (57, 9), (91, 12), (82, 9)),  # WAW
    "aorta": ((40, 5), (350, 50), (160, 20), (112, 12)),  # AJR; DP [A]
    "portal_vein": ((40, 5), (130, 25), (170, 25), (115, 12)),  # AP AJR; PVP, DP [A]
    "hepatic_veins": ((40, 5), (75, 15), (160, 25), (112, 12)),  # AP AJR; PVP, DP [A]
    "spleen": ((47, 5), (150, 20), (125, 15), (95, 10)),  # AP, PVP AJR; DP [A]
    "kidney_cortex": ((32, 4), (165, 20), (185, 15), (150, 12)),  # [A]
    "kidney_medulla": ((32, 4), (75, 12), (160, 15), (155, 12)),  # [A]
    "pancreas": ((40, 5), (95, 12), (85, 10), (70, 8)),  # [A]
    "muscle": ((55, 4), (62, 4), (68, 4), (66, 4)),  # [A]
    "fat": ((-100, 5), (-100, 5), (-100, 5), (-98, 5)),  # MCT
    "bile": ((8, 3), (8, 3), (8, 3), (8, 3)),  # [A]
}
"""Mean and between-patient SD in HU per phase."""

LESIONS: Mapping[str, HuRow] = {
    "hcc": ((-6, 10), (30, 25), (-10, 12), (-15, 8)),  # PMID 16365567; DP: liver / 1.21, PMID 23255745
    "rim": ((-17, 8), (25, 15), (-5, 12), (-8, 10)),  # PMID 16365567; split of rim and core [A]
    "core": ((-17, 8), (-20, 12), (-30, 12), (3, 12)),  # DP: ECV
}
"""Lesion minus liver in HU per phase: HCC-like tissue, and rim and core of iCCA-like tissue."""
NECROSIS_HU = (20.0, 8.0)
CAPSULE_HU = ((0.0, 3.0), (0.0, 3.0), (25.0, 6.0), (35.0, 6.0))
"""[A] Capsule minus liver: 1 to 3 mm thin, bright in PVP and DP only."""

VISIBLE_APHE = 10.0
VISIBLE_WASHOUT = -5.5
VISIBLE_PROGRESSION = -10.0
"""[A] Lesion minus liver in HU where a reader starts to see the sign: arterial enhancement above about one SD
of noise; washout below liver / 1.07 (the cut-off of PMID 23255745); a core brighter than this in DP."""

ACQUIRED_S: Mapping[PhaseName, float] = {"NC": 15.0, "AP": 35.0, "PVP": 70.0, "DP": 180.0}
"""Seconds after the injection at which the HU of this table were measured (AJR); NC stands for the arrival of the contrast medium [A]."""

EARLY_ARTERIAL_LIVER = 5.0
"""Liver enhancement over NC in an early arterial phase."""
EARLY_SHARE, LATE_SHARE = 0.15, 0.15
"""[A]"""

TUMOUR_TEXTURE_HU = 5.0
"""[A] Mottle of every tumour, of mean 0, beside necrosis and mosaic."""
RIM_SHARE = 0.2
"""[A] Thickness of the rim over the radius."""

NOISE_AT_5_MM = (8.0, 14.0)
NOISE_LIMITS = (7.0, 25.0)
"""SD in HU; 12 to 25 at 1 to 1.25 mm (Noise)."""
FIELD_OF_VIEW = (1.04, 1.22)
"""Field of view over the width of the body: 0.54 to 0.98 mm per pixel at 512 x 512."""
BREATHING_MM = (5.0, 5.0, 10.0)
"""Largest shift between phases along x, y, z."""
