"""Attention, its checks and its two controls."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from aggregate.explain.attention import (
    attention_rows,
    centre_weights,
    check_patient,
    controls,
    phase_share_rows,
    rank_correlations,
    uniform_weights,
)
from aggregate.explain.inputs import PerInstance
from aggregate.explain.resampling import resampling_of
from tests.conftest import at_two_scales


@pytest.fixture
def bags(bags_and_labels):
    return bags_and_labels[0][:12]


@pytest.fixture
def resampling():
    return resampling_of(np.tile(np.arange(3), 4), draws=200, seed=0)


def test_both_controls_sum_to_one_and_keep_the_share_of_every_phase(bags):
    for bag in bags:
        for weights in (uniform_weights(bag), centre_weights(bag)):
            assert weights.sum() == pytest.approx(1)
            for phase in np.unique(bag.phase):
                here = bag.phase == phase
                assert weights[here].sum() == pytest.approx(here.mean())


def test_the_centre_prior_peaks_in_the_middle_slice_of_each_phase(bags):
    bag = bags[0]
    weights = centre_weights(bag)
    for phase in np.unique(bag.phase):
        here = np.flatnonzero(bag.phase == phase)
        middle = np.abs(bag.slice_index[here] - bag.slice_index[here].mean())
        assert weights[here][middle.argmin()] == weights[here].max()


def test_equal_weights_use_every_slice_and_rank_none(bags):
    found = check_patient(np.tile(uniform_weights(bags[0]), (3, 1)), bags[0])
    assert found.effective_slices == pytest.approx(len(bags[0]))
    assert found.effective_share == pytest.approx(1)
    assert np.isnan([found.rank_stability, found.area_agreement]).all()


def test_one_slice_with_all_the_weight_is_one_effective_slice(bags):
    weights = np.zeros((1, len(bags[0])))
    weights[0, 2] = 1
    assert check_patient(weights, bags[0]).effective_slices == pytest.approx(1)


def test_attention_that_follows_the_area_says_so_and_is_stable(bags):
    area = bags[0].tumour_area_mm2.astype(np.float64)
    found = check_patient(np.tile(area / area.sum(), (4, 1)), bags[0])
    assert found.area_agreement == pytest.approx(1)
    assert found.rank_stability == pytest.approx(1)


def test_rank_correlations_are_spearmans_and_a_constant_has_none(rng):
    rows = np.stack([rng.normal(size=20), rng.integers(0, 4, size=20), np.full(20, 0.05)])
    found = rank_correlations(rows)
    assert found[0, 1] == pytest.approx(spearmanr(rows[0], rows[1]).statistic)
    assert np.isnan(found[2]).all()
    assert np.isnan(rank_correlations(rows[:, :2])).all()


def test_a_bag_of_one_slice_has_attention(bags):
    bag = bags[0].take(np.array([0]))
    found = check_patient(np.ones((2, 1)), bag)
    assert (found.effective_slices, found.effective_share) == (1, 1)
    assert centre_weights(bag) == [1.0]


def test_enrichment_of_both_controls_is_one(bags, resampling):
    for control in controls(bags, range(len(bags))):
        for row in phase_share_rows(control, bags, resampling):
            assert row["enrichment"] == pytest.approx(1)


def test_a_model_that_sees_one_phase_only_is_enriched_there(bags, resampling):
    arterial = {i: ((bag.phase == 1) / (bag.phase == 1).sum())[None] for i, bag in enumerate(bags)}
    rows = {row["phase"]: row for row in phase_share_rows(PerInstance("m", arterial), bags, resampling)}
    assert rows["AP"]["attention_share"] == pytest.approx(1)
    assert rows["AP"]["enrichment"] > 2
    assert rows["PVP"]["enrichment"] == 0


def test_rows_are_numbered_as_in_a_viewer_and_ranked_within_the_patient(bags):
    bag = replace(bags[0], slice_index=bags[0].slice_index + 7)
    weights = np.random.default_rng(0).dirichlet(np.ones(len(bag)), size=2)
    rows = list(attention_rows(PerInstance("m", {0: weights}), [bag]))
    assert rows[0]["slice_number"] == bag.slice_index[0] + 1
    assert sorted(row["rank"] for row in rows) == list(range(1, len(bag) + 1))
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    assert min(rows, key=lambda row: row["rank"])["weight"] == max(row["weight"] for row in rows)


def test_rows_of_one_slice_at_two_scales_name_the_scale(bags):
    bag = at_two_scales(bags[0])
    rows = list(attention_rows(PerInstance("m", {0: uniform_weights(bag)[None]}), [bag]))
    places = {(row["phase"], row["slice_number"], row["scale"]) for row in rows}
    assert len(places) == len(rows) == 2 * len(bags[0])
    assert {row["scale"] for row in rows} == {"tight", "context"}


def test_the_checks_of_two_scales_are_those_of_the_slices_with_their_weights_summed(bags):
    weights = np.random.default_rng(0).dirichlet(np.ones(len(bags[0])), size=3)
    bag = at_two_scales(bags[0])
    of_slice = [
        np.flatnonzero((bags[0].phase == p) & (bags[0].slice_index == z))[0]
        for p, z in zip(bag.phase, bag.slice_index, strict=True)
    ]
    shared = np.where(bag.scale == 0, 0.3, 0.7) * weights[:, of_slice]
    both, once = check_patient(shared, bag), check_patient(weights, bags[0])
    for name in type(once).__dataclass_fields__:
        assert getattr(both, name) == pytest.approx(getattr(once, name)), name
