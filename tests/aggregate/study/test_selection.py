"""Nested selection: each fold's pick is that of a plain loop, it is honest on labels without signal, and is never blind."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from aggregate.statistics.config import StatisticsSection
from aggregate.study.selection import (
    BEST_ROW,
    OPTIMISM,
    PICKED,
    pick_rows,
    picked,
    picked_probabilities,
    selection_rows,
)
from pipeline.errors import FoldError
from tests.aggregate.study.drawn import drawn_study, levels_of

GRID = levels_of({"encoder": ("a", "b", "c"), "aggregator": ("mean", "attention")})
QUICK = StatisticsSection(draws=100)
NULL_STUDIES = 60
SCORES = {
    "log_loss": lambda labels, p: -log_loss(labels, p, labels=[0, 1, 2]),
    "auc": lambda labels, p: roc_auc_score(labels, p, multi_class="ovr", average="macro"),
}


def best_by_a_plain_loop(study, score, repeat, fold):
    """Return the name of the configuration with the best score on the tune patients of one fold."""
    best, best_score = None, -np.inf
    for name, tuning in study.tuning.items():
        (tune,) = (one for one in tuning if (one.repeat, one.fold) == (repeat, fold))
        rows = [study.predictions.patient_ids.index(one) for one in tune.patient_ids]
        exact = study.predictions.probabilities[name][repeat, rows]
        found = score(study.predictions.labels[rows], exact)
        if found > best_score:
            best, best_score = name, found
    return best


@pytest.mark.parametrize("select_by", SCORES)
def test_what_is_picked_is_what_a_plain_loop_picks(select_by):
    study = drawn_study(GRID, settings=QUICK, select_by=select_by)
    expected = np.full((2, 60, 3), np.nan)
    names = []
    for repeat in range(2):
        for fold in range(4):
            names.append(best_by_a_plain_loop(study, SCORES[select_by], repeat, fold))
            for patient in range(60):
                if study.predictions.fold[repeat, patient] == fold:
                    of_best = study.predictions.probabilities[names[-1]]
                    expected[repeat, patient] = of_best[repeat, patient]
    assert len(set(names)) > 1
    assert [row["model"] for row in pick_rows(study)] == names
    np.testing.assert_array_equal(picked_probabilities(study), expected)


@pytest.fixture(scope="module")
def null_estimates():
    """Return the macro AUC of the best row and of the picked ones, for studies whose labels have no signal."""
    found = []
    with threadpool_limits(limits=1):
        for seed in range(NULL_STUDIES):
            study = drawn_study(GRID, strength=lambda _: 0.0, n=48, seed=seed, settings=QUICK)
            rows = {row["what"]: row["estimate"] for row in selection_rows(study)}
            assert rows[OPTIMISM] == pytest.approx(rows[BEST_ROW] - rows[PICKED])
            found.append((rows[BEST_ROW], rows[PICKED]))
    return np.array(found).T


def test_without_a_signal_the_picked_estimate_is_honest_and_the_best_row_is_not(null_estimates):
    best, honest = null_estimates
    errors = null_estimates.std(axis=1, ddof=1) / np.sqrt(NULL_STUDIES)
    assert honest.mean() == pytest.approx(0.5, abs=4 * errors[1])
    assert best.mean() > 0.5 + 4 * errors[0]


def without(study, repeat, fold, keep):
    """Return the study whose tune patients of one fold are only those with a label that is kept."""

    def fewer(tune):
        if (tune.repeat, tune.fold) != (repeat, fold):
            return tune
        kept = np.isin(tune.labels, keep)
        ids = tuple(np.array(tune.patient_ids)[kept].tolist())
        return replace(
            tune, patient_ids=ids, labels=tune.labels[kept], probabilities=tune.probabilities[kept]
        )

    tuning = {name: [one for one in map(fewer, of) if one.patient_ids] for name, of in study.tuning.items()}
    return replace(study, tuning=tuning)


def test_where_no_score_is_known_nothing_is_picked():
    by_auc = drawn_study(GRID, settings=QUICK, select_by="auc")
    with pytest.raises(
        FoldError, match="repeat 1, fold 2: no configuration has a score on the tune patients"
    ):
        picked(without(by_auc, 1, 2, keep=[0, 1]))
    by_loss = drawn_study(GRID, settings=QUICK, select_by="log_loss")
    assert len(picked(without(by_loss, 1, 2, keep=[0, 1]))) == 8
    with pytest.raises(
        FoldError, match="repeat 0, fold 3: no configuration has a score on the tune patients"
    ):
        picked(without(by_loss, 0, 3, keep=[]))
