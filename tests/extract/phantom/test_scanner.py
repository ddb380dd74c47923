"""Voxels against what was drawn, after averaging over noise."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from extract.phantom.anatomy import LIVER_BOTTOM_MM, Part
from extract.phantom.config import PhantomSection
from extract.phantom.geometry import Ellipsoid, Grid
from extract.phantom.scanner import acquire, affine, patient_grid
from extract.phantom.subjects import Subject, draw_subjects

MATRIX = 240
COHORT = draw_subjects(
    PhantomSection(patients={"HCC": 12, "iCCA": 12, "cHCC-CCA": 4}, matrix=MATRIX, thickness_mm=(4.0,), seed=5,
                   missing={"NC": 0})
)  # fmt: skip


@lru_cache(maxsize=4)
def scan(subject: Subject, phase: str):
    plan = next(plan for plan in subject.scans if plan.phase == phase)
    slabs = list(acquire(subject, plan, MATRIX))
    hu, tumour, liver = (
        np.concatenate([getattr(slab, name) for slab in slabs]) for name in ("hu", "tumour", "liver")
    )
    return plan, patient_grid(plan, MATRIX), hu, tumour, liver


def away_from(parts: tuple[Part, ...], grid: Grid, by_mm: float) -> np.ndarray:
    clear = np.ones(grid.shape, bool)
    for part in parts:
        box, inner = grid.near(part.solid.centre, tuple(r + by_mm for r in part.solid.reach))
        if inner:
            clear[box] &= part.solid.depth(inner) < -by_mm
    return clear


def plain(subject: Subject) -> bool:
    """No necrosis or mosaic, and large enough to hold voxels far from any border."""
    return (
        not np.isfinite(subject.tumour.necrosis_limit)
        and not subject.signs["mosaic"]
        and not subject.signs["biliary_dilatation"]
        and subject.diameter_mm > 45
    )


@pytest.mark.parametrize("phase", ["NC", "AP", "PVP", "DP"])
def test_organs_have_the_drawn_hu(phase):
    subject = next(s for s in COHORT if phase in {plan.phase for plan in s.scans} and not s.tumour.ducts)
    plan, grid, hu, tumour, _ = scan(subject, phase)
    anatomy = subject.anatomy
    deep = (anatomy.liver_depth(grid) > 8) & away_from(anatomy.vessels, grid, 4)
    deep &= away_from((Part("hcc", Ellipsoid(subject.tumour.solid.centre, subject.tumour.reach)),), grid, 4)
    assert hu[deep & ~tumour].mean() == pytest.approx(plan.hu["liver"], abs=1.0)
    for organ, depth in (("aorta", 5), ("spleen", 8)):
        (part,) = (p for p in anatomy.parts if p.organ == organ)
        others = tuple(p for p in anatomy.parts if p is not part and p.organ != "heart")
        inside = (
            (part.solid.depth(grid) > depth) & away_from(others, grid, 4) & (anatomy.liver_depth(grid) < -6)
        )
        inside &= (anatomy.lung(grid) < -8) & (grid.mesh[2] < 60)
        assert hu[inside].mean() == pytest.approx(plan.hu[organ], abs=2.5), organ


@pytest.mark.parametrize("phase", ["AP", "PVP", "DP"])
def test_hcc_like_tissue_has_the_drawn_hu(phase):
    subject = next(
        s for s in COHORT if s.hcc_fraction == 1 and plain(s) and phase in {p.phase for p in s.scans}
    )
    plan, grid, hu, tumour, _ = scan(subject, phase)
    depth = subject.tumour.depth(grid, subject.anatomy.liver_depth(grid))
    assert hu[tumour & (depth > 6)].mean() == pytest.approx(plan.hu["hcc"], abs=2.5)


@pytest.mark.parametrize("phase", ["AP", "PVP", "DP"])
def test_core_and_rim_of_icca_like_tissue_have_the_drawn_hu(phase):
    subject = next(
        s for s in COHORT if s.hcc_fraction == 0 and plain(s) and phase in {p.phase for p in s.scans}
    )
    plan, grid, hu, tumour, _ = scan(subject, phase)
    depth = subject.tumour.depth(grid, subject.anatomy.liver_depth(grid))
    rim_mm = subject.tumour.rim_mm
    assert hu[tumour & (depth > 2.5 * rim_mm)].mean() == pytest.approx(plan.hu["core"], abs=2.5)
    shell = hu[(depth > 0.4 * rim_mm) & (depth < 0.6 * rim_mm)].mean()
    contrast = plan.hu["rim"] - plan.hu["core"]
    assert abs(shell - plan.hu["rim"]) < 0.35 * abs(contrast) + 4


@pytest.mark.parametrize("name", ["HCC", "iCCA", "cHCC-CCA"])
def test_the_hcc_like_share_of_voxels_is_the_drawn_fraction(name):
    subject = next(s for s in COHORT if s.label == name and s.diameter_mm > 30)
    plan = subject.scans[-1]
    _, grid, _, tumour, _ = scan(subject, plan.phase)
    hcc_like = grid.wave(subject.tumour.parts) > subject.tumour.parts_limit
    assert hcc_like[tumour].mean() == pytest.approx(subject.hcc_fraction, abs=0.12)


def test_noise_has_the_planned_deviation_and_is_correlated_in_plane_only():
    subject = COHORT[0]
    plan = replace(subject.scans[0], kernel_mm=1.2)
    noisy, quiet = (
        np.concatenate([slab.hu for slab in acquire(subject, p, MATRIX)]).astype(float)
        for p in (plan, replace(plan, noise_hu=0.0))
    )
    noise = (noisy - quiet)[:, 100:190, 90:200]
    assert noise.mean() == pytest.approx(0, abs=0.2)
    assert noise.std() == pytest.approx(plan.noise_hu, rel=0.03)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.3
    assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.02


def test_noise_of_two_phases_is_independent():
    subject = COHORT[0]
    plan = subject.scans[0]
    other = replace(plan, noise_seed=subject.scans[1].noise_seed)
    quiet = next(acquire(subject, replace(plan, noise_hu=0.0), MATRIX)).hu.astype(float)
    first, second = (next(acquire(subject, p, MATRIX)).hu - quiet for p in (plan, other))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_the_affine_leads_from_voxels_to_the_planned_place():
    plan = replace(COHORT[0].scans[0], orientation=(-1, 1), bottom_mm=-500.0, spacing_mm=0.8)
    to_scanner = affine(plan, 101)
    np.testing.assert_allclose(to_scanner @ [50, 50, 0, 1], [0, 0, -500, 1])
    np.testing.assert_allclose(to_scanner @ [51, 50, 2, 1], [-0.8, 0, -500 + 2 * plan.thickness_mm, 1])


def test_slabs_are_bounded_whatever_the_scan(monkeypatch):
    subject, plan = COHORT[0], COHORT[0].scans[0]
    whole = np.concatenate([slab.liver for slab in acquire(subject, plan, MATRIX)])
    monkeypatch.setattr("extract.phantom.scanner._VOXELS_PER_SLAB", 5 * MATRIX**2)
    slabs = list(acquire(subject, plan, MATRIX))
    assert max(len(slab.hu) for slab in slabs) == 5
    np.testing.assert_array_equal(np.concatenate([slab.liver for slab in slabs]), whole)


def test_breathing_moves_the_tumour_between_phases():
    subject = COHORT[0]
    heights = {plan.shift_mm[2] for plan in subject.scans}
    assert len(heights) == len(subject.scans)
    assert max(heights) - min(heights) <= 20
    assert all(plan.bottom_mm < plan.shift_mm[2] + LIVER_BOTTOM_MM + 10 for plan in subject.scans)
