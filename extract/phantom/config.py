"""The table [phantom] of a configuration: which synthetic cohort to write."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from extract.phantom.facts import CLASSES, PHASES, ClassName, PhaseName
from pipeline.config import FileSafeName, Section

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Seconds, for tests.
    "tiny": {"patients": {"HCC": 3, "iCCA": 3, "cHCC-CCA": 3}, "matrix": 96, "thickness_mm": (7.5, 10.0)},
    # Under 30 s on 2 cores, for `make demo`.
    "demo": {"patients": {"HCC": 12, "iCCA": 12, "cHCC-CCA": 12}, "matrix": 208, "thickness_mm": (5.0, 7.5)},
    # The size and balance of a single-centre cohort (45/45/30), for experiments.
    "study": {"patients": {"HCC": 45, "iCCA": 45, "cHCC-CCA": 30}, "matrix": 256, "thickness_mm": (2.5, 5.0)},
    # Clinical matrix and thin slices, for benchmarks.
    "full": {"patients": {"HCC": 2, "iCCA": 2, "cHCC-CCA": 2}, "matrix": 512, "thickness_mm": (1.0, 1.25)},
}


MISSING: Mapping[PhaseName, float] = {"NC": 0.25, "AP": 0.04, "PVP": 0.03, "DP": 0.12}
"""Share of patients without a phase, where the configuration does not say."""


class HistologySection(Section):
    """[phantom.histology]: synthetic histology features of a biopsy of each patient, tied to the drawn share of HCC-like tissue."""

    folder: FileSafeName = "histology"
    """Folder beside the cohort table that receives the files, with the table of slides `slides.csv` beside them."""
    format: Literal["clam", "trident", "stamp"] = "clam"
    """As which program writes them."""
    width: int = Field(32, ge=4)
    """Features of a tile."""
    tiles: tuple[int, int] = (60, 200)
    """Fewest and most tiles of a slide."""
    concentration: float = Field(4.0, gt=0.0)
    """Sampling error of the core: its share of HCC-like tumour follows a beta distribution about the share of the tumour, with
    this sum of parameters; a large one means that every core looks like the whole tumour."""
    one_component: float = Field(0.3, ge=0.0, le=1.0)
    """Chance that the core of a mixed tumour hits one component only."""
    look_alikes: float = Field(0.02, ge=0.0, lt=1.0)
    """Mean share of the tumour's tiles that look like the other component; it differs from slide to slide."""
    contrast: float = Field(8.0, gt=0.0)
    """Length of the vector of each kind of tile, in standard deviations of a tile's noise."""
    without: float = Field(0.2, ge=0.0, le=1.0)
    """Share of patients without a biopsy."""
    two_slides: float = Field(0.2, ge=0.0, le=1.0)
    """Share of the biopsies with two slides."""

    @field_validator("tiles")
    @classmethod
    def _tiles_are_a_range(cls, values: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= values[0] <= values[1]:
            raise ValueError("expected the fewest and the most tiles of a slide, from 1")
        return values


class PhantomSection(Section):
    """[phantom]: the synthetic cohort to write, as a preset and changes to it. All keys but `histology` and `jobs` change the images."""

    preset: Literal["tiny", "demo", "study", "full"] = "demo"
    """Defaults of `patients`, `matrix` and `thickness_mm`: `tiny` for tests (9 patients), `demo` (36), `study` (120), `full`
    for benchmarks (6 patients, matrix 512, 1 mm)."""
    seed: int = Field(0, ge=0)
    """Seed of the cohort; the same seed gives the same files, byte for byte."""
    patients: Mapping[ClassName, int] = {"HCC": 1, "iCCA": 1, "cHCC-CCA": 1}
    """Number of patients per class; a class that is not named has none."""
    matrix: int = Field(208, ge=64, le=1024)
    """Pixels along each side of a slice; the field of view (330 to 430 mm) does not change with it."""
    thickness_mm: tuple[float, ...] = Field((5.0,), min_length=1)
    """Slice thicknesses from 0.4 to 10 mm; each phase gets one of them at random, and slices have no gap."""
    missing: Mapping[PhaseName, float] = MISSING
    """Share of patients without a phase, from 0 to 1, by phase; by guideline the non-contrast phase is optional."""
    masks: Literal["every phase", "one phase"] = "every phase"
    """A tumour mask in every phase, or in one phase of each patient (as in WAW-TACE)."""
    tumour_size: Literal["equal across classes", "as documented"] = "equal across classes"
    """`as documented` confounds tumour size with class: cHCC-CCA small, iCCA large."""
    centres: tuple[str, ...] = Field(("A", "B", "C"), min_length=1)
    """Names of the centres, which differ in reconstruction kernel, noise, slice thickness and array orientation."""
    centre_follows_class: float = Field(0.0, ge=0.0, le=1.0)
    """0: centre and class are independent. 1: each class comes from one centre, which is a leak."""
    histology: HistologySection | None = None
    """Histology features of biopsies beside the scans; the images do not change with them."""
    jobs: int = -1
    """Patients computed in parallel; -1: one per core."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {**PRESETS.get(str(values.get("preset", "demo")), {}), **values}

    @field_validator("patients", "missing")
    @classmethod
    def _not_negative(cls, values: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        highest = 1.0 if info.field_name == "missing" else float("inf")
        if any(not 0 <= value <= highest for value in values.values()) or not values:
            raise ValueError(f"expected numbers from 0 to {highest:g}")
        if info.field_name == "missing":
            return {name: values.get(name, MISSING[name]) for name in PHASES}
        return {name: values.get(name, 0) for name in CLASSES}

    @field_validator("thickness_mm")
    @classmethod
    def _thickness_of_a_ct(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.4 <= value <= 10 for value in values):
            raise ValueError("expected slice thicknesses from 0.4 to 10 mm")
        return values
