"""Wash-in and washout of drawn balls, by hand."""

import math

import pytest

from aggregate.explain.kinetics import kinetics_of
from aggregate.explain.signs import measure_patient
from tests.aggregate.explain.conftest import ORGAN_HU, ROLES


def of(ball, **contrasts: int):
    """Compare balls of one density each, as contrast to the liver of their phase."""
    return kinetics_of(measure_patient([ball(phase, hu, hu) for phase, hu in contrasts.items()]), ROLES)


def test_wash_in_and_washout_by_hand(ball):
    found = of(ball, NC=-5, AP=40, DP=-10)
    plain, early, late = ORGAN_HU["NC"] - 5, ORGAN_HU["AP"] + 40, ORGAN_HU["DP"] - 10  # 50, 112, 76 HU
    assert found.wash_in_hu == pytest.approx(early - plain, abs=1)
    assert found.wash_in_percent == pytest.approx(100 * (early - plain) / plain, abs=2)
    assert found.washout_hu == pytest.approx(early - late, abs=1)
    assert found.washout_percent == pytest.approx(100 * (early - late) / early, abs=1)
    assert found.contrast_change_hu == pytest.approx(-50, abs=1)
    assert found.contrast_kept_percent == pytest.approx(-25, abs=2)


def test_the_portal_venous_phase_stands_in_for_a_missing_delayed_one(ball):
    assert of(ball, AP=40, PVP=20).contrast_change_hu == pytest.approx(-20, abs=1)


def test_what_a_missing_phase_would_tell_is_empty(ball):
    found = of(ball, AP=40)
    assert all(math.isnan(value) for value in vars(found).values())


def test_a_lesion_darker_than_the_liver_keeps_no_share_of_its_contrast(ball):
    assert math.isnan(of(ball, AP=-20, DP=-10).contrast_kept_percent)
