"""Radiological signs of one patient, measured from the phases: numbers for what LI-RADS asks the eye to judge.

Signs are relative to the parenchyma of the same slice, so that neither the timing of a phase nor the calibration
of a scanner moves them. A sign that the present phases cannot give is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aggregate.explain.measures import SliceMeasures, measure_phase
from pipeline.slices import PhaseSlices


@dataclass(frozen=True)
class PhaseRoles:
    """Which phase of the configuration plays which part in the dynamics of contrast agent."""

    arterial: str = "AP"
    portal: str = "PVP"
    delayed: str = "DP"


@dataclass(frozen=True)
class Signs:
    """Signs of one patient; every sign is larger where the finding is stronger.

    Sources: LI-RADS v2018 (CT/MRI core) for hyperenhancement, washout, capsule and the targetoid signs of LR-M;
    PMID 23255745 for the washout ratio (cut-off 107, median of HCC 121).
    """

    arterial_hyperenhancement_hu: float
    """Lesion minus parenchyma in the arterial phase."""
    nonrim_hyperenhancement_hu: float
    """Core minus parenchyma in the arterial phase: hyperenhancement that is not of the rim alone."""
    washout_hu: float
    """Nonperipheral washout: the smaller of the loss of the core's contrast since the arterial phase and the core's
    darkness against the parenchyma, in the later phase that shows it least. Both must be there: a lesion that is
    dark throughout has not washed out, nor has one that merely fades to the parenchyma. And it must last: what
    fills in again by the delayed phase is progressive enhancement."""
    washout_ratio: float
    """100 x parenchyma / lesion in the delayed phase."""
    rim_arterial_hu: float
    """Rim minus core in the arterial phase (rim hyperenhancement)."""
    rim_portal_hu: float
    """Rim minus core in the portal venous phase."""
    rim_delayed_hu: float
    """Rim minus core in the delayed phase."""
    progressive_enhancement_hu: float
    """Core minus parenchyma in the delayed phase, less the same in the arterial phase (progressive central
    enhancement). Without a delayed phase the portal venous phase stands in."""
    capsule_hu: float
    """Border minus the brighter of lesion and parenchyma, in the later phase that shows it best."""
    heterogeneity_hu: float
    """Spread of the lesion beyond that of the parenchyma, median over the contrast-enhanced phases."""
    diameter_mm: float
    """Greatest in-plane diameter, median over the phases."""
    volume_ml: float
    """Tumour volume: areas times slice spacing, median over the phases."""
    sphericity: float
    """pi^(1/3) (6 V)^(2/3) / S, median over the phases; 1 for a ball, less for a lobulated or flat lesion."""


SIGNS = tuple(field.name for field in fields(Signs))
CENTRAL = ("core_contrast_hu", "rim_minus_core_hu")
"""Measures that only slices through the middle can give: near the pole of a ball even its centre is rim."""
CENTRAL_AREA = 0.75
"""A slice goes through the middle from this share of the largest area of the phase."""


@dataclass(frozen=True, eq=False)
class MeasuredPhase:
    """The slices of one phase with their measures."""

    slices: PhaseSlices
    measures: Sequence[SliceMeasures]

    def mean(self, name: str) -> float:
        """Return the mean of a measure over the slices, weighted by tumour area, NaN slices left out."""
        values = np.array([getattr(m, name) for m in self.measures])
        area = self.slices.tumour_area_mm2.astype(np.float64)
        known = np.isfinite(values)
        if name in CENTRAL and len(area):
            known &= area >= CENTRAL_AREA * area.max()
        weights = area[known]
        return float(np.average(values[known], weights=weights)) if weights.sum() > 0 else float("nan")


def measure_patient(phases: Sequence[PhaseSlices]) -> Mapping[str, MeasuredPhase]:
    """Measure every slice of every phase of a patient."""
    return {slices.phase: MeasuredPhase(slices, measure_phase(slices)) for slices in phases}


def signs_of(measured: Mapping[str, MeasuredPhase], roles: PhaseRoles | None = None) -> Signs:
    """Combine the phases of a patient into its signs."""
    roles = roles or PhaseRoles()
    enhanced = (roles.arterial, roles.portal, roles.delayed)

    def mean(phase: str, name: str) -> float:
        return measured[phase].mean(name) if phase in measured else float("nan")

    core = {phase: mean(phase, "core_contrast_hu") for phase in enhanced}
    last = core[roles.delayed] if np.isfinite(core[roles.delayed]) else core[roles.portal]
    shapes = [_shape(phase) for phase in measured.values()]
    return Signs(
        arterial_hyperenhancement_hu=mean(roles.arterial, "contrast_hu"),
        nonrim_hyperenhancement_hu=core[roles.arterial],
        washout_hu=_least(
            [_washout(core[roles.arterial], core[late]) for late in (roles.portal, roles.delayed)]
        ),
        washout_ratio=100
        * mean(roles.delayed, "parenchyma_hu")
        / _positive(mean(roles.delayed, "lesion_hu")),
        rim_arterial_hu=mean(roles.arterial, "rim_minus_core_hu"),
        rim_portal_hu=mean(roles.portal, "rim_minus_core_hu"),
        rim_delayed_hu=mean(roles.delayed, "rim_minus_core_hu"),
        progressive_enhancement_hu=last - core[roles.arterial],
        capsule_hu=_greatest([mean(late, "border_hu") for late in (roles.portal, roles.delayed)]),
        heterogeneity_hu=_median([mean(phase, "heterogeneity_hu") for phase in enhanced]),
        diameter_mm=_median([s.diameter_mm for s in shapes]),
        volume_ml=_median([s.volume_ml for s in shapes]),
        sphericity=_median([s.sphericity for s in shapes]),
    )


def _washout(core_arterial_hu: float, core_late_hu: float) -> float:
    return float(np.minimum(core_arterial_hu - core_late_hu, -core_late_hu))  # NaN if either is


@dataclass(frozen=True)
class _Shape:
    diameter_mm: float
    volume_ml: float
    sphericity: float


def _shape(phase: MeasuredPhase) -> _Shape:
    """Measure the lesion in three dimensions from the areas and outlines of its slices.

    The crops of neighbouring slices need not lie over one another, so no surface can be meshed. Each gap between
    neighbouring slices is taken for the frustum with their mean outline: its side is the mean perimeter times
    the slant sqrt(h^2 + (r1 - r2)^2), with r = sqrt(area / pi). The ends are closed by half a gap. Exact for
    cones and cylinders, within 3 % for a ball of ten slices.
    """
    slices, measures = phase.slices, phase.measures
    diameters = np.array([m.diameter_mm for m in measures])
    diameter = float(np.nanmax(diameters)) if np.isfinite(diameters).any() else float("nan")
    height = float(slices.source.spacing_mm[2])
    area = slices.tumour_area_mm2.astype(np.float64)
    volume = float(area.sum() * height)
    perimeter = np.array([m.perimeter_mm for m in measures])
    whole = np.array([float(mask.sum()) * np.prod(slices.spacing_mm) for mask in slices.masks])
    if not len(area) or not np.isfinite(perimeter).all() or (whole < 0.9 * area).any():
        return _Shape(diameter, volume / 1000, float("nan"))  # a truncated crop has lost the outline
    surface = _frusta(area, perimeter, slices.z_mm.astype(np.float64), height)
    sphericity = np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface
    return _Shape(diameter, volume / 1000, float(min(1.0, sphericity)))


def _frusta(
    area: NDArray[np.float64], perimeter: NDArray[np.float64], z: NDArray[np.float64], height: float
) -> float:
    radius = np.sqrt(area / np.pi)
    # Slices further apart than their spacing belong to different lesions: each is closed on its own.
    is_joined = np.diff(z) < 1.5 * height
    slant = np.hypot(np.diff(z), np.diff(radius))
    side = np.sum((perimeter[1:] + perimeter[:-1]) / 2 * slant * is_joined)
    is_first, is_last = np.concatenate([[True], ~is_joined]), np.concatenate([~is_joined, [True]])
    # An end is a lid of area A drawn out over half a gap, as a cone would be.
    ends = is_first.astype(int) + is_last.astype(int)
    lids = np.sum(ends * perimeter / 2 * np.hypot(radius, height / 2))
    return float(side + lids)


def _positive(value: float) -> float:
    return value if value > 0 else float("nan")


def _greatest(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return max(known) if known else float("nan")


def _least(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return min(known) if known else float("nan")


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else float("nan")
