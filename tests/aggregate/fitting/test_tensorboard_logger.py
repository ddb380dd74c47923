"""What TensorBoard is given: losses by epoch and the AUC of the tuning patients, and nothing of the test patients."""

from importlib.util import find_spec

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.fitting.tensorboard_logger import TensorBoardLogger, fit_loggers
from aggregate.planning.fit_tasks import FitTask, ModelSpec
from aggregate.planning.plan import load_aggregate_config, read_plan
from aggregate.store.fit_cache import Costs, Fit
from pipeline.errors import ConfigError
from tests.aggregate.conftest import SMALL

LABELS = np.array([0, 1] * 10)


def scalars(folder):
    """Return tag -> (step, value), read as TensorBoard reads it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {
        tag: [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs the extra tensorboard")
def test_every_fit_has_a_folder_and_every_network_in_it_its_losses(tmp_path):
    tune = np.arange(4)
    course = {"member": "member_0", "kept": 1, "train": [1.0, 0.5], "tune": [0.9, 0.8]}
    fit = Fit(
        test=np.full((2, 2), 0.5),
        tune=np.column_stack([1 - LABELS[tune], LABELS[tune]]),
        costs=Costs(fit_s=3.0),
        courses=(course,),
    )
    task = FitTask(ModelSpec("a/b", "ensemble", {}), Fold(1, 2, np.array([5]), tune, np.array([8, 9])), 0, "")
    TensorBoardLogger(tmp_path, LABELS, 2).fitted(task, fit, from_cache=True)
    place = tmp_path / "a%2Fb" / "repeat_1_fold_2"
    assert scalars(place / "member_0") == {
        "loss/train": [(1, 1.0), (2, 0.5)],
        "loss/tune": [(1, 0.9), (2, 0.8)],
    }
    assert scalars(place) == {"tune/macro_auc": [(0, 1.0)], "fit/seconds": [(0, 3.0)]}


def test_without_the_key_nobody_else_watches(experiment_folder):
    config = load_aggregate_config(experiment_folder(SMALL), ())
    assert fit_loggers(config, LABELS, 2) == ()


def test_the_plan_says_which_extra_is_missing(experiment_folder, monkeypatch):
    monkeypatch.setattr("aggregate.planning.plan.find_spec", lambda _: None)
    with pytest.raises(
        ConfigError, match=r"needs the extra `tensorboard`: pip install 'phasemil\[tensorboard\]'"
    ):
        read_plan(experiment_folder(SMALL), ["logger=tensorboard"])
