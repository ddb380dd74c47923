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

import numpy as np

from aggregate import experiment
from aggregate.cache import MODEL_FOLDER, FitCache
from aggregate.models.registry import load_model
from aggregate.progress import LiveTable
from aggregate.run import load_aggregate_config
from aggregate.tables.predictions import FILE, write_predictions
from pipeline.files import partial_of
from pipeline.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
# From the first fit in the cache to the end of the last there are a second and more of work, within which Ctrl-C falls.
TOML = """
[aggregate]
jobs = 1
baselines = false
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
TRAINED_IN_STACKS = {"attention", "phases"}


class Counter(LiveTable):
    """The live table of a run, which also counts what was taken from the cache and what was trained."""

    kept: set[str]
    trained: set[str]

    def fitted(self, task, fit, *, from_cache):
        (self.kept if from_cache else self.trained).add(task.key)
        super().fitted(task, fit, from_cache=from_cache)


def run_here(path: Path, monkeypatch) -> type[Counter]:
    """Run an experiment to its predictions.csv in this process, and count its fits."""
    counter = type("CounterOfOneRun", (Counter,), {"kept": set(), "trained": set()})
    monkeypatch.setattr(experiment, "LiveTable", counter)
    config = load_aggregate_config(path, ())
    write_predictions(config.output, experiment.run_experiment(config).predictions)
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


def lines_but_of(table: Path, models: set[str]) -> list[str]:
    """Return the rows of all other models as they stand in the file."""
    lines = table.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not models & set(line.split(","))]


def probabilities(table: Path) -> np.ndarray:
    """Return the probabilities of all rows (rows, classes)."""
    return np.array([[float(row[n]) for n in row if n.startswith("p_")] for row in read_table(table)])


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
    assert not (output / FILE).exists()

    killed = left_by_a_killed_process(output / "cache")
    going_on = run_here(cut, monkeypatch)
    assert not killed.exists()
    assert going_on.kept == kept
    assert going_on.trained == uninterrupted.trained - kept
    ours, theirs = (tmp_path / name / "out" / FILE for name in ("cut", "whole"))
    assert lines_but_of(ours, TRAINED_IN_STACKS) == lines_but_of(theirs, TRAINED_IN_STACKS)
    # Stacks of other fits sum in another order: equal to the seventh digit, of ten in the table.
    np.testing.assert_allclose(probabilities(ours), probabilities(theirs), rtol=0, atol=1e-6)
