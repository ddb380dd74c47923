"""HU of organs and of tumour compartments, drawn so that they agree with the signs drawn before."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.special import ndtr, ndtri

from extract.phantom import facts
from extract.phantom.signs import Flags, Signs

PerPhase = NDArray[np.float64]
"""(n, 4): one value per patient and phase, in the order of facts.PHASES."""
TIMINGS = ("early", "usual", "late")
_NC, _AP, _PVP, _DP = range(4)
_SHARED = 0.5


@dataclass(frozen=True, eq=False)
class Hounsfield:
    """HU of n patients.

    Attributes:
        organs: organ -> HU (n, 4).
        lesions: compartment (hcc, rim, core, capsule, necrosis) -> HU (n, 4), absolute; and whole, the mean over
            the living tissue of a tumour.
        arterial_timing: intp (n,), index into TIMINGS.
    """

    organs: Mapping[str, PerPhase]
    lesions: Mapping[str, PerPhase]
    arterial_timing: NDArray[np.intp]


def draw_hounsfield(
    signs: Signs,
    rng: np.random.Generator,
    acquired_s: Mapping[facts.PhaseName, float] = facts.ACQUIRED_S,
) -> Hounsfield:
    """Draw HU for every organ, compartment and phase, tumours relative to the liver they lie in.

    Args:
        signs: of the patients.
        rng: draws the same patients whatever `acquired_s` is.
        acquired_s: phase -> seconds after the injection at which it is acquired, within those of facts.ACQUIRED_S.
    """
    n = len(signs)
    timing = rng.choice(3, size=n, p=[facts.EARLY_SHARE, 1 - facts.EARLY_SHARE - facts.LATE_SHARE,
                                      facts.LATE_SHARE])  # fmt: skip
    organs = _draw_organs(signs.cirrhosis, timing, rng)
    relative = {
        "hcc": _draw_hcc(signs, rng),
        "rim": _draw_rim(signs, rng),
        "core": _draw_core(signs, rng),
        "capsule": _normal(facts.CAPSULE_HU, n, rng),
    }
    relative["whole"] = _whole(signs.hcc_fraction[:, None], relative)
    lesions = {name: organs["liver"] + values for name, values in relative.items()}
    mean, sd = facts.NECROSIS_HU
    lesions["necrosis"] = np.repeat(mean + sd * rng.standard_normal((n, 1)), 4, axis=1)
    return Hounsfield(_at(acquired_s, organs), _at(acquired_s, lesions), timing)


def _at(
    acquired_s: Mapping[facts.PhaseName, float], levels: Mapping[str, PerPhase]
) -> Mapping[str, PerPhase]:
    """Read the HU of every phase at another time: linear in time between the phases that were drawn [A]."""
    if acquired_s == facts.ACQUIRED_S:
        return levels
    known = np.array([facts.ACQUIRED_S[phase] for phase in facts.PHASES])
    wanted = np.array([acquired_s[phase] for phase in facts.PHASES])
    return {
        name: np.asarray(make_interp_spline(known, hu, k=1, axis=1)(wanted)) for name, hu in levels.items()
    }


def _draw_organs(cirrhosis: Flags, timing: NDArray[np.intp], rng: np.random.Generator) -> dict[str, PerPhase]:
    n = len(cirrhosis)
    organs = {name: _organ(name, n, rng) for name in facts.ORGANS}
    cirrhotic = organs.pop("liver_cirrhotic")
    organs["liver"] = np.where(cirrhosis[:, None], cirrhotic, organs["liver"])
    early, late = timing == 0, timing == 2
    organs["liver"][early, _AP] = organs["liver"][early, _NC] + facts.EARLY_ARTERIAL_LIVER
    # [A] Before the portal inflow, or after the arterial peak.
    organs["portal_vein"][early, _AP] -= 60
    organs["hepatic_veins"][early, _AP] -= 25
    organs["portal_vein"][late, _AP] += 25
    organs["aorta"][late, _AP] -= 80
    return organs


def _organ(name: str, n: int, rng: np.random.Generator) -> PerPhase:
    """Draw one organ; half the variance is the patient's in every phase, so that phases stay in order."""
    mean, sd = np.array(facts.ORGANS[name], np.float64).T
    patient, phase = rng.standard_normal((n, 1)), rng.standard_normal((n, 4))
    return np.asarray(mean + sd * (np.sqrt(_SHARED) * patient + np.sqrt(1 - _SHARED) * phase))


def _draw_hcc(signs: Signs, rng: np.random.Generator) -> PerPhase:
    """Draw HCC-like tissue: arterial HU on the side of visibility that the sign says, likewise washout."""
    row = facts.LESIONS["hcc"]
    hu = _normal(row, len(signs), rng)
    hu[:, _AP] = _beyond(row[_AP], facts.VISIBLE_APHE, above=signs.nonrim_aphe, rng=rng)
    hu[:, _PVP] = _beyond(row[_PVP], facts.VISIBLE_WASHOUT, above=~signs.washout, rng=rng)
    hu[:, _DP] = _beyond(row[_DP], facts.VISIBLE_WASHOUT, above=~signs.washout, rng=rng)
    return hu


def _draw_rim(signs: Signs, rng: np.random.Generator) -> PerPhase:
    row = facts.LESIONS["rim"]
    hu = _normal(row, len(signs), rng)
    hu[:, _AP] = _beyond(row[_AP], facts.VISIBLE_APHE, above=signs.rim_aphe, rng=rng)
    return hu


def _draw_core(signs: Signs, rng: np.random.Generator) -> PerPhase:
    row = facts.LESIONS["core"]
    hu = _normal(row, len(signs), rng)
    hu[:, _DP] = _beyond(row[_DP], facts.VISIBLE_PROGRESSION, above=signs.progressive, rng=rng)
    return hu


def _whole(hcc_fraction: PerPhase, relative: Mapping[str, PerPhase]) -> PerPhase:
    core_share = (1 - facts.RIM_SHARE) ** 3
    targetoid = core_share * relative["core"] + (1 - core_share) * relative["rim"]
    return np.asarray(hcc_fraction * relative["hcc"] + (1 - hcc_fraction) * targetoid)


def _normal(row: facts.HuRow, n: int, rng: np.random.Generator) -> PerPhase:
    mean, sd = np.array(row, np.float64).T
    return np.asarray(mean + sd * rng.standard_normal((n, 4)))


def _beyond(
    cell: tuple[float, float], limit: float, *, above: Flags, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw from the normal distribution of a cell, cut at `limit`: the part above it, or the part below."""
    mean, sd = cell
    split = ndtr((limit - mean) / sd)
    u = rng.random(len(above))
    quantile = np.where(above, split + u * (1 - split), u * split)
    return np.asarray(mean + sd * ndtri(np.clip(quantile, 1e-9, 1 - 1e-9)))
