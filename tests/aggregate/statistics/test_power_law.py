"""The power law of a learning curve, recovered from points that follow one."""

import numpy as np
import pytest

from aggregate.statistics.power_law import PowerLaw, extrapolated_draws, fit_power_law, why_no_law

SIZES = (20, 40, 60, 80)


@pytest.mark.parametrize("law", [PowerLaw(0.9, 1.5, 0.7), PowerLaw(0.95, 4.0, 1.0)], ids=["slow", "fast"])
def test_exact_points_give_their_law_back(law):
    found = fit_power_law(SIZES, [law.at(n) for n in SIZES], [0.02] * 4)
    assert (found.a, found.b, found.c) == pytest.approx((law.a, law.b, law.c), rel=1e-3)
    assert found.at(400) == pytest.approx(law.at(400), abs=1e-4)


def test_the_law_by_hand():
    assert PowerLaw(0.9, 2.0, 0.5).at(100) == pytest.approx(0.9 - 2.0 / 10)


def test_a_point_with_a_large_error_hardly_counts():
    law = PowerLaw(0.9, 1.5, 0.7)
    values = [law.at(n) for n in (*SIZES, 100)]
    values[2] += 0.1
    assert fit_power_law((*SIZES, 100), values, [0.01, 0.01, 10, 0.01, 0.01]).at(400) == pytest.approx(
        law.at(400), abs=1e-3
    )


def test_no_law_promises_more_than_an_auc_of_1():
    rising = fit_power_law((20, 40, 60), (0.6, 0.8, 0.99), (0.02, 0.02, 0.02))
    assert rising.at(10_000) <= 1


@pytest.mark.parametrize(
    ("sizes", "values", "reason"),
    [
        ((20, 40), (0.6, 0.7), "needs 3 numbers of training patients, found 2"),
        ((20, 20, 40), (0.6, 0.6, 0.7), "found 2"),
        ((20, 40, 60), (0.7, 0.8, 0.7), "does not rise"),
    ],
    ids=["two sizes", "a size twice", "flat"],
)
def test_where_there_is_no_law_the_reason_is_told(sizes, values, reason):
    assert reason in (why_no_law(sizes, values) or "")


def test_resamples_that_agree_leave_no_spread_and_those_that_differ_do(rng):
    law = PowerLaw(0.9, 1.5, 0.7)
    exact = np.tile([law.at(n) for n in SIZES], (21, 1))
    _, read = extrapolated_draws(SIZES, exact, [200])
    assert read[:, 0] == pytest.approx(np.full(21, law.at(200)), abs=1e-3)
    noisy = exact + np.r_[np.zeros((1, 4)), rng.normal(0, 0.02, (20, 4))]
    found, read = extrapolated_draws(SIZES, noisy, [200])
    assert found.at(200) == pytest.approx(law.at(200), abs=1e-3)
    assert np.std(read[1:, 0]) > 0.005


def test_a_resample_without_an_auc_is_left_out():
    draws = np.tile([0.6, 0.7, 0.75, 0.77], (4, 1))
    draws[2, 1] = np.nan
    _, read = extrapolated_draws(SIZES, draws, [200])
    assert np.isnan(read[:, 0]).tolist() == [False, False, True, False]
