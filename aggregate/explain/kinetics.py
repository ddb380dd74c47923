"""kinetics.csv: how the enhancement of a lesion changes between the phases, in the words of radiology reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from aggregate.explain.signs import MeasuredPhase
from aggregate.tables.shared_columns import LABEL, PATIENT_ID
from aggregate.tables.table import Column, Kind, Step, Table
from pipeline.phase_roles import PhaseRoles


@dataclass(frozen=True)
class Kinetics:
    """Differences between the phases of one patient; NaN where a phase is missing.

    The density of a phase is the mean over its slices of the lesion's median, weighted by tumour area; the contrast is
    lesion minus parenchyma. The last phase is the delayed one, else the portal venous.
    """

    wash_in_hu: float
    """Lesion, arterial less non-contrast phase."""
    wash_in_percent: float
    """The same as a share of the non-contrast density."""
    washout_hu: float
    """Lesion, arterial less last phase."""
    washout_percent: float
    """The same as a share of the arterial density."""
    contrast_change_hu: float
    """Lesion minus parenchyma, last less arterial phase: negative for washout against the liver."""
    contrast_kept_percent: float
    """Contrast of the last phase as a share of the arterial contrast; empty unless the lesion is brighter there."""


KINETICS_NAMES = tuple(field.name for field in fields(Kinetics))
KINETICS = Table(
    "kinetics.csv",
    "patient",
    (
        PATIENT_ID,
        LABEL,
        Column("wash_in_hu", "Lesion, arterial less non-contrast phase", "HU", Kind.NUMBER),
        Column("wash_in_percent", "Wash-in as a share of the non-contrast density", "%", Kind.NUMBER),
        Column(
            "washout_hu", "Lesion, arterial less last phase (delayed, else portal venous)", "HU", Kind.NUMBER
        ),
        Column("washout_percent", "Washout as a share of the arterial density", "%", Kind.NUMBER),
        Column("contrast_change_hu", "Lesion minus parenchyma, last less arterial phase", "HU", Kind.NUMBER),
        Column(
            "contrast_kept_percent",
            "Contrast to the parenchyma of the last phase as a share of the arterial contrast; empty unless that is above 0",
            "%",
            Kind.NUMBER,
        ),
    ),
    place=225,
    step=Step.EXPLANATIONS,
    notes=(
        "The density of a phase is the mean over its slices of the lesion's median, weighted by tumour area. Empty where "
        "a phase is missing."
    ),
)


def kinetics_of(phases: Mapping[str, MeasuredPhase], roles: PhaseRoles) -> Kinetics:
    """Compare the phases of a patient by their roles."""

    def mean(phase: str | None, name: str) -> float:
        return phases[phase].mean(name) if phase is not None and phase in phases else float("nan")

    last = roles.delayed if roles.delayed in phases else roles.portal
    plain, early, late = (mean(phase, "lesion_hu") for phase in (roles.non_contrast, roles.arterial, last))
    early_contrast, late_contrast = (mean(phase, "contrast_hu") for phase in (roles.arterial, last))
    return Kinetics(
        wash_in_hu=early - plain,
        wash_in_percent=_percent(early - plain, plain),
        washout_hu=early - late,
        washout_percent=_percent(early - late, early),
        contrast_change_hu=late_contrast - early_contrast,
        contrast_kept_percent=_percent(late_contrast, early_contrast),
    )


def kinetics_rows(
    patient_ids: Sequence[str], labels: Sequence[str], found: Sequence[Kinetics]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of kinetics.csv."""
    for patient_id, label, kinetics in zip(patient_ids, labels, found, strict=True):
        yield {"patient_id": patient_id, "label": label, **asdict(kinetics)}


def _percent(part: float, whole: float) -> float:
    """Return a share in percent; NaN unless the whole is above 0."""
    return 100 * part / whole if np.isfinite(whole) and whole > 0 else float("nan")
