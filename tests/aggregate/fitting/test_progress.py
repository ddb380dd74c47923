"""The progress of a run: every model, and of a study the best configurations so far."""

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.fitting.progress import FitProgress
from aggregate.planning.fit_tasks import FitTask, ModelSpec
from aggregate.store.fit_cache import Costs, Fit

LABELS = np.array([0, 1] * 10)
NONE = np.array([], dtype=np.intp)


def shown(monkeypatch, most):
    """Return the rows after three models whose AUC is 0, 1 and 0.5."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    fold = Fold(0, 0, NONE, NONE, np.arange(20))
    with FitProgress(["worst", "best", "chance", "unfitted"], LABELS, 2, 1, most=most) as table:
        for name, score in (("worst", 1 - LABELS), ("best", LABELS), ("chance", np.full(20, 0.5))):
            fit = Fit(test=np.column_stack([1 - score, score]), tune=np.empty((0, 2)))
            table.fitted(FitTask(ModelSpec(name, "majority", {}), fold, 0, ""), fit, from_cache=False)
        return table.shown()


@pytest.mark.parametrize(
    ("most", "rows"),
    [(None, ["worst", "best", "chance", "unfitted"]), (2, ["best", "chance"]), (1, ["best"])],
)
def test_a_run_shows_every_model_and_a_study_the_best(monkeypatch, most, rows):
    assert shown(monkeypatch, most) == rows


def test_without_a_terminal_a_line_now_and_then_tells_fits_the_time_left_and_the_auc_of_the_patients_tested(
    capsys,
):
    clock, halves = [0.0], (np.arange(10), np.arange(10, 20))
    with FitProgress(["best", "worst"], LABELS, 2, 2, clock=lambda: clock[0]) as progress:
        for name, score, seconds in (("best", LABELS, 20.0), ("worst", 1 - LABELS, 40.0)):
            for fold, test in enumerate(halves):
                clock[0] += seconds
                costs = Costs(fit_s=2 * seconds)  # two at once
                fit = Fit(np.column_stack([1 - score, score])[test], np.empty((0, 2)), costs)
                task = FitTask(ModelSpec(name, "majority", {}), Fold(0, fold, NONE, NONE, test), 0, "")
                progress.fitted(task, fit, from_cache=False)
    assert capsys.readouterr().err.splitlines() == [
        "2 of 4 fits, about 0 s left for these models, 1 not begun; out-of-fold macro AUC so far: best 1.000 (2/2 fits)",
        "3 of 4 fits, about 40 s left; out-of-fold macro AUC so far: best 1.000 (2/2 fits), worst 0.000 (1/2 fits)",
        "4 of 4 fits, about 0 s left; out-of-fold macro AUC so far: best 1.000 (2/2 fits), worst 0.000 (2/2 fits)",
    ]
