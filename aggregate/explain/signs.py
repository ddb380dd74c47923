"""Radiological signs of one patient, measured from the phases: numbers for the features that LI-RADS judges by eye.

Signs are relative to the parenchyma of the same slice, so that phase timing and scanner calibration do not shift them.
A sign whose phases are missing is NaN; `remarks_on_roles` lists the signs for which no phase has the needed role.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.explain.shape import sphericity
from pipeline.phase_roles import PhaseRoles, name_of_role
from pipeline.quantities import median_of_phases, tumour_volume_ml
from pipeline.slice_measures import SliceMeasures, measure_phase
from pipeline.slices import PhaseSlices


@dataclass(frozen=True)
class Signs:
    """Signs of one patient; every sign is larger where the finding is stronger.

    Sources: LI-RADS v2018 (CT/MRI core) for hyperenhancement, washout, capsule and the targetoid signs of LR-M;
    PMID 23255745 for the washout ratio (cut-off 107, median of HCC 121).
    """

    arterial_hyperenhancement_hu: float
    """Lesion minus parenchyma in the arterial phase."""
    nonrim_hyperenhancement_hu: float
    """Core minus parenchyma in the arterial phase: hyperenhancement beyond the rim (nonrim APHE)."""
    washout_hu: float
    """Nonperipheral washout: the smaller of the core's loss of contrast since the arterial phase and the parenchyma
    minus the core; of the later phases, the smallest value. Both are required: a lesion that is hypodense in all phases
    has no washout, nor has one that only becomes isodense. Washout must also persist: a lesion that fills in by the
    delayed phase has progressive enhancement."""
    washout_ratio: float
    """100 x parenchyma / lesion in the delayed phase."""
    rim_arterial_hu: float
    """Rim minus core in the arterial phase (rim hyperenhancement)."""
    rim_portal_hu: float
    """Rim minus core in the portal venous phase."""
    rim_delayed_hu: float
    """Rim minus core in the delayed phase."""
    progressive_enhancement_hu: float
    """Core minus parenchyma in the delayed phase, minus the same in the arterial phase (progressive central
    enhancement). Without a delayed phase the portal venous phase is used."""
    capsule_hu: float
    """Border minus the brighter of lesion and parenchyma; of the later phases, the largest value."""
    heterogeneity_hu: float
    """Standard deviation of the smoothed lesion around its profile from edge to core, median over the contrast-enhanced
    phases. On the phantom of configs/study.toml it detects the 22 mosaic tumours among 120 with an AUC of 0.83."""
    diameter_mm: float
    """Greatest in-plane diameter, median over the phases."""
    volume_ml: float
    """Tumour volume from the kept slices (pipeline/quantities.py), median over the phases."""
    sphericity: float
    """pi^(1/3) (6 V)^(2/3) / S of the largest connected part, median over the phases; 1 for a ball, less for a lobulated
    or flat lesion (method and accuracy: explain/shape.py)."""


SIGNS = tuple(field.name for field in fields(Signs))
_LATER = frozenset(("portal", "delayed"))
_RESTS_ON: Mapping[str, Sequence[frozenset[str]]] = {
    "arterial_hyperenhancement_hu": [frozenset(("arterial",))],
    "nonrim_hyperenhancement_hu": [frozenset(("arterial",))],
    "washout_hu": [frozenset(("arterial",)), _LATER],
    "washout_ratio": [frozenset(("delayed",))],
    "rim_arterial_hu": [frozenset(("arterial",))],
    "rim_portal_hu": [frozenset(("portal",))],
    "rim_delayed_hu": [frozenset(("delayed",))],
    "progressive_enhancement_hu": [frozenset(("arterial",)), _LATER],
    "capsule_hu": [_LATER],
    "heterogeneity_hu": [frozenset(("arterial", *_LATER))],
}
"""Sign -> sets of phase roles; the sign needs at least one role of each set."""
CENTRAL = ("core_contrast_hu", "rim_minus_core_hu", "heterogeneity_hu")
"""Measures taken only from slices through the middle of a lesion: near the pole of a ball even its centre is rim."""
CENTRAL_AREA = 0.75
"""Smallest tumour area of a middle slice, as a share of the largest area in the phase."""


@dataclass(frozen=True, eq=False)
class MeasuredPhase:
    """The measures of one phase.

    Attributes:
        slice_index: int (n,), 0-based, inferior to superior.
        tumour_area_mm2: float (n,).
        measures: of each slice (n).
        volume_ml: of the tumour.
        sphericity: of its largest part; NaN where it cannot be had.
    """

    slice_index: NDArray[np.integer[Any]]
    tumour_area_mm2: NDArray[np.floating[Any]]
    measures: Sequence[SliceMeasures]
    volume_ml: float
    sphericity: float

    def mean(self, name: str) -> float:
        """Return the mean of a measure over the slices without NaN, weighted by tumour area."""
        values = np.array([getattr(m, name) for m in self.measures])
        area = self.tumour_area_mm2.astype(np.float64)
        known = np.isfinite(values)
        if name in CENTRAL and len(area):
            known &= area >= CENTRAL_AREA * area.max()
        weights = area[known]
        return float(np.average(values[known], weights=weights)) if weights.sum() > 0 else float("nan")


def measure_patient(phases: Sequence[PhaseSlices]) -> Mapping[str, MeasuredPhase]:
    """Measure every slice of every phase of a patient."""
    return {
        slices.phase: MeasuredPhase(
            slice_index=slices.slice_index,
            tumour_area_mm2=slices.tumour_area_mm2,
            measures=measure_phase(slices),
            volume_ml=tumour_volume_ml(slices),
            sphericity=sphericity(slices),
        )
        for slices in phases
    }


def signs_of(measured: Mapping[str, MeasuredPhase], roles: PhaseRoles) -> Signs:
    """Compute the signs of a patient from its phases; a role without a phase is treated as a missing phase."""
    enhanced = (roles.arterial, roles.portal, roles.delayed)

    def mean(phase: str | None, name: str) -> float:
        return measured[phase].mean(name) if phase is not None and phase in measured else float("nan")

    core = {phase: mean(phase, "core_contrast_hu") for phase in enhanced}
    last = core[roles.delayed] if np.isfinite(core[roles.delayed]) else core[roles.portal]
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
        diameter_mm=_median([_diameter_mm(phase) for phase in measured.values()]),
        volume_ml=median_of_phases([phase.volume_ml for phase in measured.values()]),
        sphericity=_median([phase.sphericity for phase in measured.values()]),
    )


def remarks_on_roles(roles: PhaseRoles) -> list[str]:
    """List the signs that are empty, or use fewer phases, because no phase has the role that they need."""
    lacking = {role for groups in _RESTS_ON.values() for group in groups for role in group}
    lacking = {role for role in lacking if roles.of_role[role] is None}
    empty = [sign for sign, needs in _RESTS_ON.items() if any(group <= lacking for group in needs)]
    fewer = [
        sign
        for sign, needs in _RESTS_ON.items()
        if sign not in empty and any(group & lacking for group in needs)
    ]
    if not lacking:
        return []
    names = ", ".join(name_of_role(role) for role in roles.of_role if role in lacking)
    told = [f"empty: {', '.join(empty)}"] * bool(empty) + [f"on other phases: {', '.join(fewer)}"] * bool(
        fewer
    )
    return [f"no phase has the role {names} ([cohort.phase_roles]); signs {'; '.join(told)}"]


def _washout(core_arterial_hu: float, core_late_hu: float) -> float:
    return float(np.minimum(core_arterial_hu - core_late_hu, -core_late_hu))  # NaN if either is


def _diameter_mm(phase: MeasuredPhase) -> float:
    diameters = [m.diameter_mm for m in phase.measures]
    return _greatest(diameters)


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
