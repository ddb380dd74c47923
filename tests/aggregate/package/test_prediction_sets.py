"""Split-conformal limits: by hand, against NumPy, and by the law that they were made for."""

import math

import numpy as np
import pytest

from aggregate.package.prediction_sets import conformal_limit, in_sets, level_of, measured_levels
from pipeline.errors import ConfigError


def test_nine_patients_by_hand():
    """Of nine scores, 80 % takes rank ceil(10 x 0.8) = 8, 90 % rank 9; 95 % would need a tenth patient."""
    scores = np.array([[0.1, 0.9, 0.3, 0.2, 0.8, 0.4, 0.7, 0.5, 0.6]])
    assert conformal_limit(scores, 0.8) == 0.8
    assert conformal_limit(scores, 0.9) == 0.9
    assert conformal_limit(scores, 0.95) is None


@pytest.mark.parametrize("coverage", [0.5, 0.61, 0.8, 0.9])
def test_the_limit_is_the_finite_sample_quantile_of_numpy(coverage, rng):
    scores = rng.random((1, 57))
    level = math.ceil(58 * coverage) / 57
    assert conformal_limit(scores, coverage) == np.quantile(scores, level, method="inverted_cdf")


def test_repeats_of_the_same_scores_change_nothing(rng):
    scores = rng.random((1, 31))
    assert conformal_limit(np.tile(scores, (4, 1)), 0.83) == conformal_limit(scores, 0.83)


def test_new_patients_are_covered_as_asked(rng):
    """Over many cohorts the mean coverage is between c and c + 1 / (n + 1)."""
    n, coverage, covered = 39, 0.8, []
    for _ in range(2000):
        scores = rng.random(n + 1)
        limit = conformal_limit(scores[None, :n], coverage)
        covered.append(scores[n] <= limit)
    assert coverage - 0.03 < np.mean(covered) < coverage + 1 / (n + 1) + 0.03


def test_a_set_holds_what_cannot_be_ruled_out():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])
    np.testing.assert_array_equal(in_sets(probabilities, 0.6), [[True, False, False], [True, True, False]])


def test_what_is_found_is_measured_on_other_folds():
    """Two folds of two: the patients of one are judged by a limit of the other two."""
    probabilities = np.array([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]])
    labels, fold = np.array([0, 0, 0, 1]), np.array([[0, 0, 1, 1]])
    level = next(
        one for one in measured_levels(probabilities, labels, fold, ("a", "b")) if one.coverage == 0.6
    )
    # Scores 0.1, 0.2 | 0.7, 0.4; of two patients 60 % takes rank ceil(3 x 0.6) = 2: limits 0.7 for fold 0 and 0.2 for fold 1.
    assert level.found == 0.5
    assert level.found_of_class == {"a": 2 / 3, "b": 0.0}
    # Of all four rank ceil(5 x 0.6) = 3.
    assert level.limit == pytest.approx(0.4)


def test_a_coverage_that_nobody_measured_is_refused():
    levels = measured_levels(
        np.full((1, 10, 2), 0.5), np.zeros(10, dtype=np.intp), np.arange(10)[None] % 2, ("a", "b")
    )
    with pytest.raises(
        ConfigError, match=r"--coverage 0.905: expected a share from 0.5 to 0.99 in steps of 0.01"
    ):
        level_of(levels, 0.905, 10)
    with pytest.raises(
        ConfigError, match=r"10 patients of the cross-validation are too few for it; at most 0.9"
    ):
        level_of(levels, 0.95, 10)
