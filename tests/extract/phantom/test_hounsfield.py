"""Drawn HU against the published table, without voxels."""

import numpy as np
import pytest
from scipy.special import ndtr

from extract.phantom import facts
from extract.phantom.hounsfield import draw_hounsfield
from extract.phantom.signs import draw_signs

N = 30_000
AP = facts.PHASES.index("AP")
DP = facts.PHASES.index("DP")


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(11)
    signs = draw_signs(rng.integers(3, size=N), rng)
    return signs, draw_hounsfield(signs, rng)


@pytest.mark.parametrize("organ", [name for name in facts.ORGANS if "liver" not in name])
def test_organs_have_the_tabulated_mean_and_spread(drawn, organ):
    _, hounsfield = drawn
    usual = hounsfield.organs[organ][hounsfield.arterial_timing == 1]
    mean, sd = np.array(facts.ORGANS[organ], float).T
    np.testing.assert_allclose(usual.mean(axis=0), mean, atol=5 * sd.max() / np.sqrt(len(usual)))
    np.testing.assert_allclose(usual.std(axis=0), sd, rtol=0.03)


@pytest.mark.parametrize(("cirrhosis", "row"), [(False, "liver"), (True, "liver_cirrhotic")])
def test_the_liver_follows_its_own_row(drawn, cirrhosis, row):
    signs, hounsfield = drawn
    members = (signs.cirrhosis == cirrhosis) & (hounsfield.arterial_timing == 1)
    mean, sd = np.array(facts.ORGANS[row], float).T
    np.testing.assert_allclose(hounsfield.organs["liver"][members].mean(axis=0), mean, atol=0.5)
    np.testing.assert_allclose(hounsfield.organs["liver"][members].std(axis=0), sd, rtol=0.03)


def test_an_early_arterial_phase_hardly_enhances_the_liver(drawn):
    _, hounsfield = drawn
    liver = hounsfield.organs["liver"][hounsfield.arterial_timing == 0]
    np.testing.assert_allclose(liver[:, AP] - liver[:, 0], facts.EARLY_ARTERIAL_LIVER)


@pytest.mark.parametrize("compartment", facts.LESIONS)
def test_tissue_of_tumours_has_the_tabulated_hu_before_contrast(drawn, compartment):
    _, hounsfield = drawn
    relative = hounsfield.lesions[compartment][:, 0] - hounsfield.organs["liver"][:, 0]
    mean, sd = facts.LESIONS[compartment][0]
    assert relative.mean() == pytest.approx(mean, abs=0.4)
    assert relative.std() == pytest.approx(sd, rel=0.03)


@pytest.mark.parametrize(
    ("compartment", "phase", "sign", "limit"),
    [
        ("hcc", AP, "nonrim_aphe", facts.VISIBLE_APHE),
        ("rim", AP, "rim_aphe", facts.VISIBLE_APHE),
        ("core", DP, "progressive", facts.VISIBLE_PROGRESSION),
    ],
)
def test_hu_agree_with_the_sign_and_together_give_the_table(drawn, compartment, phase, sign, limit):
    """Each side of the limit of visibility holds its part of the tabulated normal distribution."""
    signs, hounsfield = drawn
    shown = getattr(signs, sign)
    relative = (hounsfield.lesions[compartment] - hounsfield.organs["liver"])[:, phase]
    assert relative[shown].min() >= limit >= relative[~shown].max()
    mean, sd = facts.LESIONS[compartment][phase]
    above = 1 - ndtr((limit - mean) / sd)
    together = above * relative[shown].mean() + (1 - above) * relative[~shown].mean()
    assert together == pytest.approx(mean, abs=6 * sd / np.sqrt(N))


def test_washout_is_darker_than_the_liver_in_both_late_phases(drawn):
    signs, hounsfield = drawn
    relative = (hounsfield.lesions["hcc"] - hounsfield.organs["liver"])[:, 2:]
    assert relative[signs.washout].max() <= facts.VISIBLE_WASHOUT <= relative[~signs.washout].min()
