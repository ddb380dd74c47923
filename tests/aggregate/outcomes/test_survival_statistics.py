"""C-index, time-dependent AUC and Brier score: beside scikit-survival, by hand, and on resamples."""

import numpy as np
import pytest

from aggregate.outcomes.outcome import survival_values
from aggregate.outcomes.statistics.survival import Observed, auc_at, brier, harrell_c, uno_c

metrics = pytest.importorskip("sksurv.metrics")
N = 60
EVERY_PAIR = np.ones((N, N), dtype=np.bool_)
TAU, HORIZONS = 30.0, np.array([6.0, 12.0, 24.0])


@pytest.fixture
def cohort(rng):
    """Times in whole months, so that some are tied; risks of one decimal, so that some are tied, too."""
    time = np.ceil(rng.exponential(20, N))
    time[:3] = 90.0
    event = rng.random(N) < 0.6
    event[:3] = False
    return survival_values(event, time), np.round(rng.normal(size=N) - time / 30, 1), rng.random((N, 3))


def counted(values, counts):
    return Observed(values, np.asarray(counts, dtype=np.float64)[:, None])


@pytest.mark.parametrize("resampled", [False, True])
def test_all_are_those_of_scikit_survival_also_where_patients_count_twice_or_not(cohort, rng, resampled):
    values, risk, survival = cohort
    counts = rng.integers(0, 3, N) if resampled else np.ones(N, dtype=int)
    again = np.repeat(np.arange(N), counts)
    observed, same = counted(values, counts), values[again]
    assert uno_c(risk, observed, EVERY_PAIR, tau=TAU)[0] == pytest.approx(
        metrics.concordance_index_ipcw(same, same, risk[again], tau=TAU)[0], abs=1e-12
    )
    assert harrell_c(risk, observed, EVERY_PAIR)[0] == pytest.approx(
        metrics.concordance_index_censored(same["event"], same["time"], risk[again])[0], abs=1e-12
    )
    assert [auc_at(risk, observed, EVERY_PAIR, t)[0] for t in HORIZONS] == pytest.approx(
        metrics.cumulative_dynamic_auc(same, same, risk[again], HORIZONS)[0], abs=1e-12
    )
    assert [brier(observed, t, survival[:, k])[0] for k, t in enumerate(HORIZONS)] == pytest.approx(
        metrics.brier_score(same, same, survival[again], HORIZONS)[1], abs=1e-12
    )


def test_harrell_by_hand():
    """Four patients; the pairs (0,1), (0,2), (0,3), (2,3) are known, and (0,2) is in the wrong order."""
    values = survival_values([True, False, True, False], [1, 2, 3, 4])
    risk = np.array([2.0, 1.0, 3.0, 0.0])
    pairs = np.ones((4, 4), dtype=np.bool_)
    assert harrell_c(risk, counted(values, np.ones(4)), pairs)[0] == pytest.approx(3 / 4)


def test_only_pairs_of_one_fold_count():
    """Each fold is in perfect order, and the second has the risks of another model, all higher."""
    values = survival_values([True, True, True, True], [1, 2, 3, 4])
    risk = np.array([2.0, 1.0, 20.0, 10.0])
    fold = np.array([0, 0, 1, 1])
    observed = counted(values, np.ones(4))
    together = fold[:, None] == fold[None, :]
    assert harrell_c(risk, observed, together)[0] == 1.0
    assert harrell_c(risk, observed, np.ones((4, 4), dtype=np.bool_))[0] == pytest.approx(2 / 6)


def test_the_same_risk_for_everybody_is_chance(cohort):
    values, _, _ = cohort
    observed = counted(values, np.ones(N))
    assert uno_c(np.zeros(N), observed, EVERY_PAIR, tau=TAU)[0] == 0.5
    assert auc_at(np.zeros(N), observed, EVERY_PAIR, 12.0)[0] == 0.5


def test_every_draw_is_measured_as_if_alone(cohort, rng):
    values, risk, _ = cohort
    weights = rng.random((N, 5))
    together = uno_c(risk, Observed(values, weights), EVERY_PAIR, tau=TAU)
    alone = [uno_c(risk, Observed(values, weights[:, [k]]), EVERY_PAIR, tau=TAU)[0] for k in range(5)]
    np.testing.assert_allclose(together, alone)


def test_without_a_pair_there_is_no_number():
    values = survival_values([False, False], [1, 2])
    assert np.isnan(harrell_c(np.zeros(2), counted(values, np.ones(2)), np.ones((2, 2), dtype=np.bool_))[0])
