"""The shift of new patients in the words of a radiologist, with the usual causes of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from aggregate.package.scan_quantities import ALL_PHASES, QUANTITIES, REFERENCE_HU
from aggregate.package.training_distribution import HIGH, LOW, Spread

DISTANCE, PHASE = "distance", "has the phase"
REASONS: Mapping[str, str] = {
    "combination": "{} together: fewer than {} training patients had these, so that no distance is usual for them",
    "absent": "the patient has no {}",
    "unknown": "the bag does not tell it",
    "untold": "fewer than {} training patients have it, so that no range is told",
}
_CAUSES: Mapping[str, str] = {
    "slice_thickness_mm": "thin slices have more noise and less partial volume, thick ones the reverse; reconstruct as the training scans were",
    "pixel_spacing_mm": "another field of view or matrix",
    REFERENCE_HU: "an earlier or later phase, another dose of contrast medium or tube voltage, or another condition of the organ",
    "lesion_slices": "another slice thickness or size of lesions",
    "lesion_diameter_mm": "another stage of disease, or masks drawn by another rule",
    "lesion_volume_ml": "another stage of disease, or masks drawn by another rule",
}
"""What usually lies behind a difference."""


def patient_in_words(names: Mapping[str, str], value: float, spread: Spread | None, outside: str) -> str:
    """Say where a patient lies beside the training patients; nothing for a patient inside.

    Args:
        names: quantity, phase and features of the row.
        value: of the patient.
        spread: of the training patients.
        outside: as in the table.
    """
    quantity, phase, features = (names[name] for name in ("quantity", "phase", "features"))
    if spread is None or outside in ("", "no") or np.isnan(value):
        return ""
    if quantity == DISTANCE:
        share = outside.removeprefix("beyond ")
        return f"{features}{_in(phase)}: farther from the training patients than {share} of them are from the others"
    low, high = spread.quantile(LOW), spread.quantile(HIGH)
    unit = QUANTITIES[quantity].unit
    return f"{QUANTITIES[quantity].words}{_in(phase)} {value:.3g} {unit}; 90 % of the training patients have {low:g} to {high:g} {unit}"


def quantity_in_words(row: Mapping[str, Any], *, differs: bool) -> str:
    """Say how the scans of a hospital differ in a quantity, and what that usually comes from."""
    words, unit = QUANTITIES[row["quantity"]].words, row["unit"]
    name = f"{words}{_in(row['phase'])}"
    if row["here"] is None:
        return f"{name}: the bags do not tell it"
    if row["training_median"] is None:
        return f"{name}: too few training patients to compare with"
    here, usual = row["here"], row["training_median"]
    told = (
        f"{name}: median {here:.3g} {unit}, of the training patients {usual:.3g} (90 % of them {row['training_low']:g} to "
        f"{row['training_high']:g}); {row['n_outside']} of {row['n']} patients outside"
    )
    if not differs:
        return told
    side = "more" if here > usual else "less"
    by = "" if here == usual else f", {abs(here - usual):.3g} {unit} {side}"
    return f"{told}{by}: {_CAUSES[row['quantity']]}"


def distance_in_words(row: Mapping[str, Any], *, differs: bool) -> str:
    """Say how far the features of a hospital lie from those that the model learned from."""
    told = (
        f"features that the model reads ({row['features']}){_in(row['phase'])}: {row['n_outside']} of {row['n']} patients lie farther off than "
        f"95 % of the training patients ({_percent(row['expected_outside'])} expected)"
    )
    if not differs:
        return told
    nearer = row["training_median"] is not None and row["here"] < row["training_median"]
    return f"{told}; as a group they lie {'nearer' if nearer else 'farther'} than usual (median {row['here']:.2f}, usual about 1)"


def phase_in_words(row: Mapping[str, Any], *, differs: bool) -> str:
    """Say how often a phase is there."""
    told = f"{row['phase']} in {_percent(row['here'])} of the patients, {_percent(row['training_median'])} of the training patients"
    if not differs:
        return told
    return f"{told}: another protocol; what the model says without a phase rests on fewer training patients"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _in(phase: str) -> str:
    return "" if phase == ALL_PHASES else f" in {phase}"
