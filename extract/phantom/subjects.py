"""All parameters of the patients, drawn before any voxel: label, centre, signs, HU, anatomy, tumour and scans."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.phantom import facts
from extract.phantom.anatomy import LIVER_BOTTOM_MM, LIVER_TOP_MM, Anatomy, draw_anatomy
from extract.phantom.config import PhantomSection
from extract.phantom.geometry import Vector
from extract.phantom.hounsfield import TIMINGS, draw_hounsfield
from extract.phantom.signs import draw_signs
from extract.phantom.tumour import Tumour, draw_diameter, draw_tumour

_TABLE_MM = 1200.0


@dataclass(frozen=True)
class _Style:
    """How a centre reconstructs and stores its scans."""

    kernel_mm: float
    noise: float
    orientation: tuple[int, int]


_STYLES = (_Style(0.85, 0.9, (1, 1)), _Style(0.7, 1.0, (-1, -1)), _Style(0.55, 1.12, (-1, 1)))
"""[A] Centres differ: soft and quiet to sharp and noisy kernels; arrays stored RAS, LPS, LAS."""


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """One phase as it will be acquired.

    Attributes:
        phase: phase name.
        spacing_mm: pixel side.
        thickness_mm: slice thickness, which is also the distance of slices.
        n_slices: number of slices.
        bottom_mm: centre of the lowest slice, in scanner coordinates.
        shift_mm: where breathing has moved the patient, along x, y, z.
        noise_hu: standard deviation of the noise.
        kernel_mm: standard deviation of the reconstruction kernel.
        orientation: signs of the stored x and y axes in RAS+.
        has_mask: whether a tumour mask is written.
        hu: organ or compartment -> HU in this phase.
        noise_seed: seeds of the noise.
    """

    phase: str
    spacing_mm: float
    thickness_mm: float
    n_slices: int
    bottom_mm: float
    shift_mm: Vector
    noise_hu: float
    kernel_mm: float
    orientation: tuple[int, int]
    has_mask: bool
    hu: Mapping[str, float]
    noise_seed: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Subject:
    """One patient with everything drawn but the voxels."""

    patient_id: str
    label: str
    centre: str
    age: int
    sex: str
    signs: Mapping[str, bool]
    hcc_fraction: float
    diameter_mm: float
    arterial_timing: str
    anatomy: Anatomy
    tumour: Tumour
    hu: Mapping[str, tuple[float, ...]]
    """Organ or compartment -> HU in each of facts.PHASES, also in those not acquired."""
    scans: tuple[ScanPlan, ...]
    """Phases acquired, in order."""


@dataclass(frozen=True, eq=False)
class _Draw:
    """What is drawn for all patients at once, for one of them."""

    number: int
    label: str
    centre: int
    signs: Mapping[str, bool]
    hcc_fraction: float
    arterial_timing: str
    hu: Mapping[str, tuple[float, ...]]


def draw_subjects(section: PhantomSection) -> tuple[Subject, ...]:
    """Draw the whole cohort, patients of all classes in random order."""
    draws = _draw_at_once(section, np.random.default_rng(section.entropy))
    digits = max(3, len(str(len(draws))))
    return tuple(
        _draw_subject(section, draw, f"{section.prefix}{draw.number + 1:0{digits}d}") for draw in draws
    )


def centre_names(section: PhantomSection) -> tuple[str, ...]:
    """Return the names of the centres that patients come from."""
    return section.centres if section.centre is None else (section.centre.name,)


def acquired_s_of(section: PhantomSection) -> Mapping[facts.PhaseName, float]:
    """Return the seconds after the injection at which each phase is acquired."""
    return facts.ACQUIRED_S if section.centre is None else section.centre.acquired_s


def _draw_at_once(section: PhantomSection, rng: np.random.Generator) -> Sequence[_Draw]:
    labels = np.repeat(np.arange(len(facts.CLASSES)), [section.patients[c] for c in facts.CLASSES])
    labels = rng.permutation(labels)
    signs = draw_signs(labels, rng)
    hounsfield = draw_hounsfield(signs, rng, acquired_s_of(section))
    centres = _draw_centres(labels, section, rng)
    levels = {**hounsfield.organs, **hounsfield.lesions}
    return [
        _Draw(
            number=i,
            label=facts.CLASSES[label],
            centre=int(centres[i]),
            signs=signs.row(i),
            hcc_fraction=float(signs.hcc_fraction[i]),
            arterial_timing=TIMINGS[hounsfield.arterial_timing[i]],
            hu={name: tuple(float(v) for v in values[i]) for name, values in levels.items()},
        )
        for i, label in enumerate(labels)
    ]


def _draw_subject(section: PhantomSection, draw: _Draw, patient_id: str) -> Subject:
    rng = np.random.default_rng((section.entropy, draw.number, 1))
    anatomy = draw_anatomy(cirrhosis=draw.signs["cirrhosis"], rng=rng)
    diameter = draw_diameter(draw.label, equal=section.tumour_size == "equal across classes", rng=rng)
    mean, sd = facts.AGE[draw.label]
    return Subject(
        patient_id=patient_id,
        label=draw.label,
        centre=centre_names(section)[draw.centre],
        age=int(np.clip(round(mean + sd * rng.standard_normal()), 21, 92)),
        sex="M" if rng.random() < facts.MALE[draw.label] else "F",
        signs=draw.signs,
        hcc_fraction=draw.hcc_fraction,
        diameter_mm=diameter,
        arterial_timing=draw.arterial_timing,
        anatomy=anatomy,
        tumour=draw_tumour(
            anatomy, draw.signs, diameter_mm=diameter, hcc_fraction=draw.hcc_fraction, rng=rng
        ),
        hu=draw.hu,
        scans=tuple(_draw_scans(section, draw, 2 * anatomy.body[0], rng)),
    )


def _draw_scans(
    section: PhantomSection, draw: _Draw, width_mm: float, rng: np.random.Generator
) -> Iterator[ScanPlan]:
    present = _draw_phases(section, rng)
    masked = _draw_masked(section, present, rng)
    spacing = width_mm * rng.uniform(*facts.FIELD_OF_VIEW) / section.matrix
    table = rng.uniform(-_TABLE_MM, 0)
    style = _style_of(section, draw.centre)
    for phase in present:
        index = facts.PHASES.index(phase)
        thickness = _draw_thickness(section, draw.centre, rng)
        x, y, z = (rng.uniform(-limit, limit) for limit in facts.BREATHING_MM)
        below, above = rng.uniform(2, 30), rng.uniform(4, 18)
        length = LIVER_TOP_MM - LIVER_BOTTOM_MM + below + above
        yield ScanPlan(
            phase=phase,
            spacing_mm=spacing,
            thickness_mm=thickness,
            n_slices=int(np.ceil(length / thickness)),
            bottom_mm=table + z + LIVER_BOTTOM_MM - below,
            shift_mm=(x, y, table + z),
            noise_hu=_draw_noise(thickness, style.noise, rng),
            kernel_mm=style.kernel_mm,
            orientation=style.orientation,
            has_mask=phase in masked,
            hu={name: values[index] for name, values in draw.hu.items()},
            noise_seed=(section.entropy, draw.number, 2, index),
        )


def _style_of(section: PhantomSection, centre: int) -> _Style:
    if section.centre is not None:
        return _Style(section.centre.kernel_mm, section.centre.noise, _STYLES[1].orientation)
    return _STYLES[centre % len(_STYLES)]


def _draw_noise(thickness_mm: float, of_centre: float, rng: np.random.Generator) -> float:
    """Draw a noise level: thinner slices have fewer photons."""
    noise = rng.uniform(*facts.NOISE_AT_5_MM) * (5 / thickness_mm) ** 0.42 * of_centre
    return float(np.clip(noise, *facts.NOISE_LIMITS))


def _draw_phases(section: PhantomSection, rng: np.random.Generator) -> tuple[str, ...]:
    """Drop phases at their rates; a patient without any keeps the portal venous one."""
    present = tuple(p for p in facts.PHASES if rng.random() >= section.missing[p])
    return present or ("PVP",)


def _draw_masked(section: PhantomSection, present: Sequence[str], rng: np.random.Generator) -> Sequence[str]:
    """Choose the phases with a tumour mask; a single one as often AP, PVP, DP, NC as in WAW-TACE."""
    if section.masks == "every phase":
        return present
    often = np.array([{"NC": 2, "AP": 90, "PVP": 48, "DP": 24}[phase] for phase in present], float)
    return [present[rng.choice(len(present), p=often / often.sum())]]


def _draw_thickness(section: PhantomSection, centre: int, rng: np.random.Generator) -> float:
    """Draw a thickness; each centre uses one of them in most phases."""
    usual = section.thickness_mm[centre % len(section.thickness_mm)]
    return float(usual if rng.random() < 0.6 else rng.choice(section.thickness_mm))


def _draw_centres(
    labels: NDArray[np.intp], section: PhantomSection, rng: np.random.Generator
) -> NDArray[np.intp]:
    n = len(centre_names(section))
    at_random = rng.integers(n, size=len(labels))
    own = labels % n
    return np.where(rng.random(len(labels)) < section.centre_follows_class, own, at_random)
