"""Signs of patients whose phases are drawn by hand."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.explain.signs import measure_patient, signs_of
from pipeline.phase_roles import PhaseRoles
from tests.aggregate.explain.conftest import ROLES


@pytest.fixture
def signs(ball):
    def of(**contrasts):
        return signs_of(measure_patient([ball(phase, *pair) for phase, pair in contrasts.items()]), ROLES)

    return of


HCC = {"NC": (-6, -6), "AP": (30, 30), "PVP": (-10, -10), "DP": (-15, -15)}
CHOLANGIO = {"NC": (-17, -17), "AP": (25, -20), "PVP": (-5, -30), "DP": (-8, 3)}


def test_the_classical_hcc_enhances_and_washes_out(signs):
    found = signs(**HCC)
    assert found.arterial_hyperenhancement_hu == pytest.approx(30, abs=2)
    assert found.nonrim_hyperenhancement_hu == pytest.approx(30, abs=2)
    assert found.washout_hu == pytest.approx(10, abs=2)
    assert found.washout_ratio == pytest.approx(100 * 86 / 71, rel=0.02)
    assert found.progressive_enhancement_hu == pytest.approx(-45, abs=2)


def test_the_classical_cholangiocarcinoma_has_a_rim_and_fills_from_the_edge(signs):
    found = signs(**CHOLANGIO)
    assert found.rim_arterial_hu > 30
    assert found.nonrim_hyperenhancement_hu < 0
    assert found.washout_hu < 0
    assert found.progressive_enhancement_hu > 15


def test_a_lesion_that_is_dark_throughout_has_not_washed_out(signs):
    assert signs(AP=(-30, -30), PVP=(-30, -30), DP=(-30, -30)).washout_hu <= 0


def test_a_lesion_that_fades_to_the_parenchyma_has_not_washed_out(signs):
    assert signs(AP=(40, 40), PVP=(5, 5), DP=(0, 0)).washout_hu <= 0


def test_a_missing_phase_leaves_its_signs_unknown_and_the_others_as_they_were(signs):
    whole, part = signs(**HCC), signs(PVP=HCC["PVP"], DP=HCC["DP"])
    assert np.isnan([part.arterial_hyperenhancement_hu, part.washout_hu, part.rim_arterial_hu]).all()
    assert part.washout_ratio == whole.washout_ratio
    assert part.volume_ml == pytest.approx(whole.volume_ml)


def test_the_phases_may_bear_other_names(ball):
    renamed = [replace(ball("AP", 30, 30), phase="arterial"), replace(ball("DP", -15, -15), phase="late")]
    found = signs_of(measure_patient(renamed), PhaseRoles(arterial="arterial", delayed="late"))
    assert found.washout_hu == pytest.approx(15, abs=2)


@pytest.mark.parametrize("radius", [12.0, 20.0, 40.0])
def test_a_ball_has_its_volume_and_the_sphericity_of_a_ball(radius, ball):
    found = signs_of(measure_patient([ball("AP", 30, 30, radius=radius)]), ROLES)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.06)
    assert found.sphericity > 0.95
    assert found.diameter_mm == pytest.approx(2 * radius, rel=0.06)


def test_a_long_lesion_is_less_spherical_than_a_ball(ball):
    long = signs_of(measure_patient([ball("AP", 30, 30, radius=12, stretch=3.0)]), ROLES)
    assert long.sphericity < 0.9


def test_every_sign_grows_with_its_finding(signs):
    faint, strong = signs(**{**HCC, "DP": (-6, -6), "PVP": (-4, -4)}), signs(**HCC)
    assert strong.washout_hu > faint.washout_hu


def test_a_lesion_that_fills_in_again_has_not_washed_out(signs):
    assert signs(AP=(5, 5), PVP=(-35, -35), DP=(15, 15)).washout_hu < 0
