"""Interrupt a real `aggregate.py run` in the middle of its fits, and go on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregate import cross_validated_run
from aggregate.fitting.progress import FitProgress
from aggregate.models.registry import load_model
from aggregate.planning.plan import load_aggregate_config, make_plan
from aggregate.store.fit_cache import MODEL_FOLDER, FitCache
from aggregate.tables.predictions import PREDICTIONS, write_predictions
from aggregate.tables.results import ResultTables
from pipeline.files import partial_of

ROOT = Path(__file__).resolve().parents[2]
# From the first fit in the cache to the end of the last there are a second and more of work, within which Ctrl-C falls.
TOML = """
[aggregate]
jobs = 1
baselines = false
[aggregate.figures]
formats = ["svg"]
[aggregate.splits]
folds = 3
repeats = 2
[aggregate.model.attention]
kind = "attention_mil"
epochs = 2
[aggregate.model.phases]
kind = "phase_attention"
epochs = 6
[aggregate.model.forest]
kind = "random_forest"
trees = 10
"""


class Counter(FitProgress):
    """The progress of a run, which also counts what was taken from the cache and what was trained."""

    kept: set[str]
    trained: set[str]

    def fitted(self, task, fit, *, from_cache):
        (self.kept if from_cache else self.trained).add(task.key)
        super().fitted(task, fit, from_cache=from_cache)


def run_here(path: Path, monkeypatch) -> type[Counter]:
    """Run an experiment to its predictions.csv in this process, and count its fits."""
    counter = type("CounterOfOneRun", (Counter,), {"kept": set(), "trained": set()})
    monkeypatch.setattr(cross_validated_run, "FitProgress", counter)
    config = load_aggregate_config(path, ())
    write_predictions(
        ResultTables(config.output), cross_validated_run.run_experiment(make_plan(config)).predictions
    )
    return counter


@contextmanager
def ctrl_c_is_heard() -> Iterator[None]:
    """Let children hear SIGINT also where this process was started in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted_run(config: Path, cache: Path) -> tuple[int, str]:
    """Run an experiment in a process of its own, press Ctrl-C once a fit is in the cache; return how it ended."""
    words = [sys.executable, str(ROOT / "aggregate.py"), "run", str(config)]
    with ctrl_c_is_heard():
        child = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    with child:
        while not keys_in(cache) and child.poll() is None:
            time.sleep(0.002)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)
        _, errors = child.communicate()
    return child.returncode, errors


def keys_in(cache: Path) -> set[str]:
    return {path.parent.name for path in cache.glob("*/predictions.npz") if path.parent.suffix != ".partial"}


def left_by_a_killed_process(cache: Path) -> Path:
    """Return a half-written fit of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    name = partial_of(cache / "key").name.replace(f"-{os.getpid()}-", f"-{child.pid}-")
    (cache / name / MODEL_FOLDER).mkdir(parents=True)
    return cache / name


def test_after_ctrl_c_the_same_command_goes_on_where_it_was(tmp_path, write_experiment, monkeypatch):
    whole = write_experiment(tmp_path / "whole", TOML)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    cut, output = tmp_path / "cut" / whole.name, tmp_path / "cut" / "out"
    uninterrupted = run_here(whole, monkeypatch)

    ended = interrupted_run(cut, output / "cache")
    assert ended == (130, "interrupted; run the same command again to go on\n")
    kept = keys_in(output / "cache")
    assert kept
    assert kept < uninterrupted.trained
    assert {path.name for path in (output / "cache").iterdir()} == kept  # nothing is half-written
    for key in kept:
        load_model(FitCache(output / "cache").model_folder(key))
    assert not (output / PREDICTIONS.location).exists()

    killed = left_by_a_killed_process(output / "cache")
    going_on = run_here(cut, monkeypatch)
    assert not killed.exists()
    assert going_on.kept == kept
    assert going_on.trained == uninterrupted.trained - kept
    ours, theirs = (tmp_path / name / "out" / PREDICTIONS.location for name in ("cut", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()
