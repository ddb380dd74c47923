"""Metrics of numbers and of grades: by hand and beside scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import (
    cohen_kappa_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from aggregate.outcomes.outcome import Outcome
from aggregate.outcomes.predictions import OutcomePredictions, percentile_among
from aggregate.outcomes.section import OutcomeSection
from aggregate.outcomes.statistics.grades import measure_grades
from aggregate.outcomes.statistics.numbers import measure_numbers

N = 40


def predictions(task, section, observed, said, fold=None):
    return OutcomePredictions(
        Outcome.of(task, observed, section),
        tuple(f"p{i}" for i in range(len(observed))),
        np.zeros((1, len(observed)), dtype=np.intp) if fold is None else fold,
        {"model": said[None]},
        {},
    )


@pytest.fixture
def weights(rng):
    return np.stack([np.ones(N), rng.integers(0, 3, N).astype(float)], axis=1)


def test_numbers_are_those_of_scikit_learn_also_on_a_resample(rng, weights):
    observed = np.round(rng.normal(50, 10, N), 1)
    said = np.round(observed / 2 + rng.normal(25, 5, N), 1)
    found = measure_numbers(
        predictions("regression", OutcomeSection(column="x"), observed, said[:, None]), "model", weights
    ).metrics
    for draw in range(2):
        w = weights[:, draw]
        expected = {
            "r2": r2_score(observed, said, sample_weight=w),
            "mae": mean_absolute_error(observed, said, sample_weight=w),
            "rmse": root_mean_squared_error(observed, said, sample_weight=w),
            "bias": np.average(said - observed, weights=w),
            "calibration_slope": np.polyfit(said, observed, 1, w=np.sqrt(w))[0],
        }
        assert {name: found[name, ""][0, draw] for name in expected} == pytest.approx(expected)
    assert found["spearman", ""][0, 0] == pytest.approx(spearmanr(said, observed)[0])
    spread = 1.96 * np.std(said - observed)
    assert found["limit_high", ""][0, 0] == pytest.approx(np.mean(said - observed) + spread)


def test_a_constant_of_each_fold_has_no_correlation(rng, weights):
    """The mean of the others is lower where the observed is higher, which is no finding."""
    observed, fold = rng.normal(size=N), np.tile([0, 1], N // 2)[None]
    said = np.where(fold[0] == 0, 1.0, 2.0)
    found = measure_numbers(
        predictions("regression", OutcomeSection(column="x"), observed, said[:, None], fold), "model", weights
    )
    assert np.isnan(found.metrics["spearman", ""]).all()
    assert np.isfinite(found.metrics["r2", ""]).all()


def test_grades_are_those_of_scikit_learn_also_on_a_resample(rng, weights):
    section = OutcomeSection(column="g", order=("a", "b", "c"))
    observed = rng.integers(0, 3, N)
    said = rng.dirichlet(np.ones(3), N) + 0.5 * np.eye(3)[observed]
    said /= said.sum(axis=1, keepdims=True)
    found = measure_grades(predictions("ordinal", section, observed, said), "model", weights)
    called = said.argmax(axis=1)
    for draw in range(2):
        w = weights[:, draw]
        kappa = cohen_kappa_score(observed, called, weights="quadratic", sample_weight=w)
        assert found.metrics["quadratic_kappa", ""][0, draw] == pytest.approx(kappa)
        assert found.metrics["mae_grades", ""][0, draw] == pytest.approx(
            np.average(np.abs(observed - called), weights=w)
        )
        for k, name in enumerate("ab"):
            auc = roc_auc_score(observed > k, said[:, k + 1 :].sum(axis=1), sample_weight=w)
            assert found.metrics["threshold_auc", name][0, draw] == pytest.approx(auc, abs=1e-7)


def test_ranked_probability_by_hand():
    """Observed b: P(above a) = 0.8 of 1, P(above b) = 0.3 of 0."""
    section = OutcomeSection(column="g", order=("a", "b", "c"))
    found = measure_grades(
        predictions("ordinal", section, np.array([1]), np.array([[0.2, 0.5, 0.3]])), "model", np.ones((1, 1))
    )
    assert found.metrics["ranked_probability", ""][0, 0] == pytest.approx(0.2**2 + 0.3**2)


def test_a_risk_stands_among_those_of_the_tune_patients():
    tune = np.array([1.0, 2.0, 2.0, 5.0])
    assert percentile_among(np.array([0.0, 2.0, 9.0]), tune).tolist() == [0.0, 0.5, 1.0]


def test_a_risk_above_the_median_of_the_tune_patients_is_high():
    section = OutcomeSection(time="t", event="e", horizons=(1.0,), risk_groups=2)
    outcome = Outcome.of(
        "survival", np.array([(True, 2.0)] * 3, dtype=[("event", "?"), ("time", "f8")]), section
    )
    placed = {"model": np.array([[0.4, 0.6, 1.0], [0.5, 0.7, 1.0]])}
    found = OutcomePredictions(outcome, ("a", "b", "c"), np.zeros((2, 3), dtype=np.intp), {}, placed)
    assert found.risk_groups("model").tolist() == [0, 1, 1]
