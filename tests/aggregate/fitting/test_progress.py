"""The live table: every model of a run, and of a study the best configurations so far."""

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.fitting.progress import LiveTable
from aggregate.planning.fit_tasks import FitTask, ModelSpec
from aggregate.store.fit_cache import Fit

LABELS = np.array([0, 1] * 10)
NONE = np.array([], dtype=np.intp)


def shown(monkeypatch, most):
    """Return the rows after three models whose AUC is 0, 1 and 0.5."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    fold = Fold(0, 0, NONE, NONE, np.arange(20))
    with LiveTable(["worst", "best", "chance", "unfitted"], LABELS, 2, 1, most=most) as table:
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
