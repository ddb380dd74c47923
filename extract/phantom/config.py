"""The table [phantom] of a configuration: which synthetic cohort to write."""

import zlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from extract.phantom.facts import ACQUIRED_S, CLASSES, PHASES, ClassName, PhaseName
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


USUAL_PREFIX = "PH"
"""How the identifier of a patient begins where no hospital is named."""

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


class CentreSection(Section):
    """[phantom.centre]: one other hospital, from which all patients come, instead of the scanners of `centres`.

    Its patients are other people than those that the same seed draws without this table. Thickness, missing phases, the
    patients of each class and the size of their tumours are keys of [phantom].
    """

    name: FileSafeName
    """Name of the hospital, in the column `centre`; its patients are called by it too, such as Nord001."""
    kernel_mm: float = Field(0.7, gt=0.0, le=3.0)
    """Standard deviation of the reconstruction kernel; 0.55 (sharp) to 0.85 (soft) without this table. Below 0.4 pixels there is
    no smoothing left, and 0.4 pixels are used."""
    noise: float = Field(1.0, gt=0.0, le=3.0)
    """Noise, as a multiple of that of an average scanner at the same slice thickness, in all 7 to 25 HU; 0.9 to 1.12 without this
    table."""
    acquired_s: Mapping[PhaseName, float] = ACQUIRED_S
    """Seconds after the injection at which AP, PVP and DP are acquired, in rising order from 15 to 180; 35, 70 and 180 where they
    are not named. The HU of every organ and tumour follow, linearly between those times."""

    @field_validator("name")
    @classmethod
    def _is_no_patient_of_another_phantom(cls, value: str) -> str:
        if value.startswith(USUAL_PREFIX):
            raise ValueError(
                f"patients without this table are called {USUAL_PREFIX}001; expected another name"
            )
        if "_" in value:
            raise ValueError("a file is called <patient>_<phase>; expected a name without _")
        return value

    @field_validator("acquired_s")
    @classmethod
    def _in_the_order_of_the_phases(cls, values: Mapping[PhaseName, float]) -> Mapping[PhaseName, float]:
        if values.get("NC", ACQUIRED_S["NC"]) != ACQUIRED_S["NC"]:
            raise ValueError("the non-contrast phase comes before the injection; name AP, PVP and DP only")
        times = {phase: values.get(phase, ACQUIRED_S[phase]) for phase in PHASES}
        rising = list(times.values())
        if rising != sorted(set(rising)) or rising[-1] > ACQUIRED_S["DP"]:
            told = ", ".join(f"{phase} {times[phase]:g}" for phase in PHASES[1:])
            raise ValueError(
                f"expected seconds above {ACQUIRED_S['NC']:g} to {ACQUIRED_S['DP']:g}, AP before PVP before DP; found {told}"
            )
        return times


class OutcomesSection(Section):
    """[phantom.outcomes]: survival, a grade and a number of each patient, drawn from the signs: columns months, died, grade, mvi_score."""

    median_months: float = Field(24.0, gt=0.0)
    """Median survival of a patient of average risk."""
    follow_up_months: tuple[float, float] = (12.0, 60.0)
    """Shortest and longest time from the entry of a patient to the end of the study, when the survivors are censored."""
    effect: float = Field(1.0, ge=0.0)
    """Factor of the effects of all signs; 0: outcomes that no image tells."""

    @field_validator("follow_up_months")
    @classmethod
    def _follow_up_is_a_range(cls, values: tuple[float, float]) -> tuple[float, float]:
        if not 0 < values[0] <= values[1]:
            raise ValueError("expected the shortest and the longest time, above 0")
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
    centre: CentreSection | None = None
    """One other hospital, from which all patients come; not beside `centres` or `centre_follows_class`."""
    histology: HistologySection | None = None
    """Histology features of biopsies beside the scans; the images do not change with them."""
    outcomes: OutcomesSection | None = None
    """Survival, a grade and a number of each patient as further columns of the cohort table; no image depends on them."""
    jobs: int = -1
    """Patients computed in parallel; -1: one per core."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {**PRESETS.get(str(values.get("preset", "demo")), {}), **values}

    @model_validator(mode="after")
    def _one_hospital_or_several(self) -> "PhantomSection":
        if self.centre is not None and {"centres", "centre_follows_class"} & self.model_fields_set:
            raise ValueError("expected centres and centre_follows_class, or [phantom.centre]; found both")
        return self

    @property
    def prefix(self) -> str:
        """How the identifier of every patient begins."""
        return USUAL_PREFIX if self.centre is None else self.centre.name

    @property
    def entropy(self) -> int:
        """What seeds the patients: the seed, and the name of [phantom.centre], so that two hospitals share no patient."""
        return self.seed if self.centre is None else self.seed + (zlib.crc32(self.centre.name.encode()) << 32)

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
