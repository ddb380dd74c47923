"""Large draws against the published tables, within sampling error."""

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from extract.phantom import facts
from extract.phantom.signs import (
    ANCILLARY,
    Signs,
    draw_signs,
    pattern_probabilities,
    patterns_of,
)

N = 40_000
PUBLISHED = {
    # MCT-LTDiag, 103 HCC and 100 iCCA; Granata 2020, 11 cHCC-CCA.
    "HCC": {"nonrim_aphe": 0.87, "rim_aphe": 0.0, "washout": 0.48, "capsule": 0.23},
    "iCCA": {"nonrim_aphe": 0.18, "rim_aphe": 0.61, "washout": 0.08, "capsule": 0.0},
    "cHCC-CCA": {"nonrim_aphe": 0.36, "washout": 0.55, "capsule": 0.18, "progressive": 0.64},
}
NONE = {"HCC": 11 / 103, "iCCA": 23 / 100, "cHCC-CCA": 12 / 100}


def draw(name: str, n: int = N) -> Signs:
    label = np.full(n, facts.CLASSES.index(name), np.intp)
    return draw_signs(label, np.random.default_rng(7))


def near(share: float, n: int = N) -> object:
    """Equal within four standard errors, and within the half per cent to which the tables are rounded."""
    return pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n) + 0.005)


@pytest.mark.parametrize("name", facts.CLASSES)
def test_patterns_come_as_often_as_the_joint_table_says(name):
    counts = np.bincount(draw(name).pattern, minlength=len(patterns_of(name)))
    assert chisquare(counts, pattern_probabilities(name) * N).pvalue > 1e-3


@pytest.mark.parametrize(("name", "sign"), [(n, s) for n in PUBLISHED for s in PUBLISHED[n]])
def test_each_sign_is_as_frequent_as_published(name, sign):
    assert getattr(draw(name), sign).mean() == near(PUBLISHED[name][sign])


@pytest.mark.parametrize("name", facts.CLASSES)
def test_the_documented_share_shows_no_sign_at_all(name):
    signs = draw(name)
    shows_nothing = ~signs.flags(facts.MARKERS).any(axis=1)
    assert shows_nothing.mean() == near(NONE[name])
    assert not signs.flags(ANCILLARY)[shows_nothing].any()


def test_fifteen_per_cent_of_icca_look_like_hcc():
    signs = draw("iCCA")
    like_hcc = signs.nonrim_aphe & ~signs.targetoid
    assert like_hcc.mean() == near(0.15)
    assert (signs.hcc_fraction[like_hcc] == 1).all()


def test_nearly_half_of_mixed_tumours_show_signs_of_both():
    signs = draw("cHCC-CCA")
    both = signs.targetoid & (signs.nonrim_aphe | signs.washout | signs.capsule)
    assert both.mean() == near(0.48)


def test_the_hcc_fraction_of_mixed_tumours_is_uniform():
    low, high = facts.FRACTION
    fraction = draw("cHCC-CCA", 5_000).hcc_fraction
    assert kstest((fraction - low) / (high - low), "uniform").pvalue > 1e-3


def test_mixed_tumours_with_signs_of_hcc_alone_are_mostly_hcc():
    signs = draw("cHCC-CCA")
    hcc_only = (signs.nonrim_aphe | signs.washout | signs.capsule) & ~signs.targetoid
    assert signs.hcc_fraction[hcc_only].min() > signs.hcc_fraction[~hcc_only].max() - 1e-9


@pytest.mark.parametrize(("table", "sign"), [(facts.LOBULATED, "lobulated"), (facts.CIRRHOSIS, "cirrhosis")])
@pytest.mark.parametrize("name", facts.CLASSES)
def test_lobulation_and_cirrhosis_follow_the_class(name, table, sign):
    assert getattr(draw(name), sign).mean() == near(table[name])


def test_ancillary_signs_say_nothing_beyond_the_pattern():
    """Among tumours with a rim and progression, satellites are as frequent in each class."""
    shares = []
    for name in ("iCCA", "cHCC-CCA"):
        signs = draw(name)
        alike = signs.rim_aphe & signs.progressive & ~signs.nonrim_aphe
        shares.append(signs.satellites[alike].mean())
    assert shares[0] == pytest.approx(shares[1], abs=0.03)
