"""Pooled vectors by hand, and what is unknown in them."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.models.pooling import STATISTICS, pool_all, pool_phases, pool_phases_and_differences
from aggregate.models.registry import build_model

NAN = np.nan


@pytest.fixture
def bag(cohort):
    """Three slices of two features, two arterial and one delayed, the first feature of the second unknown."""
    few = next(bag for bag in cohort[0] if {1, 3} <= set(bag.phase.tolist()))
    rows = [*np.flatnonzero(few.phase == 1)[:2], np.flatnonzero(few.phase == 3)[0]]
    features = np.array([[1, 4], [NAN, 8], [5, 1]], dtype=np.float32)
    return replace(few.take(np.array(rows)), features=features)


def test_means_are_over_the_slices_of_which_a_feature_is_known(bag):
    np.testing.assert_array_equal(pool_phases([bag], ["mean"]), [[NAN, NAN, 1, 6, NAN, NAN, 5, 1]])
    np.testing.assert_array_equal(pool_all([bag], ["mean", "max"]), [[3, 13 / 3, 5, 8]])


def test_differences_are_later_less_earlier_and_unknown_where_a_phase_is(bag):
    differences = pool_phases_and_differences([bag], ["mean"])[0, 8:].reshape(6, 2)
    unknown = [NAN, NAN]
    # NC to AP, PVP, DP; AP to PVP, DP; PVP to DP
    np.testing.assert_array_equal(differences, [unknown] * 3 + [unknown, [4, -5], unknown])


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.filterwarnings("error")
def test_a_feature_that_is_known_of_no_slice_of_a_phase_is_missing(bag, statistic):
    unknown = replace(bag, features=np.where([[True, False]], NAN, bag.features).astype(np.float32))
    pooled = pool_phases([unknown], [statistic]).reshape(4, 2)
    assert np.isnan(pooled[:, 0]).all()
    assert np.isfinite(pooled[[1, 3], 1]).all()


def test_phase_pooling_reads_the_phase_means_and_their_differences(cohort):
    bags, labels = cohort
    for differences, pool in ((False, pool_phases), (True, pool_phases_and_differences)):
        model = build_model("phase_pooling", {"differences": differences}, random_state=0).fit(bags, labels)
        np.testing.assert_array_equal(model.vectors(bags), pool(bags, ["mean"]))


def test_a_washout_is_seen_by_phase_pooling_and_not_by_mean_pooling(cohort):
    """What rises in one phase and falls in another by as much leaves the mean slice as it was."""
    bags, labels = cohort
    complete = [(bag, y) for bag, y in zip(bags, labels, strict=True) if {1, 3} <= set(bag.phase.tolist())]
    rng, shown = np.random.default_rng(0), []
    for bag, label in complete:
        features = rng.normal(size=bag.features.shape).astype(np.float32)
        for phase, sign in ((1, 1), (3, -1)):
            features[bag.phase == phase, label] += 6 * sign / np.sum(bag.phase == phase)
        shown.append(replace(bag, features=features))
    labels = np.array([y for _, y in complete])
    right = {}
    for kind in ("mean_pooling", "phase_pooling"):
        model = build_model(kind, {}, random_state=0).fit(shown[:30], labels[:30])
        right[kind] = float((model.predict(shown[30:]) == labels[30:]).mean())
    assert right["phase_pooling"] > 0.7
    assert right["mean_pooling"] < 0.6
