"""A study that was killed several times and started again equals one that nobody stopped, to the byte."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.aggregate.study.test_budget import LINEAR

ROOT = Path(__file__).resolve().parents[3]
STUDY = "from aggregate.commands import main; main()"
MEASURED = ("fit_s", "slices_per_s", "seconds", "pareto")
"""Columns of measured times, and the one that follows from them; all others are compared."""
ATTENTION = """[aggregate.study.aggregators.attention]
kind = "attention_mil"
epochs = 2
"""


def started(toml: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own."""
    given = [sys.executable, "-c", STUDY, "study", str(toml), "splits.repeats=3", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        given, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )


def n_fits(toml: Path) -> int:
    """Return how many fits are in the cache."""
    return len(list((toml.parent / "out" / "cache").glob("*/predictions.npz")))


def killed_at_each_fit(toml: Path, *words: str, fits: int) -> int:
    """Kill the command whenever another fit was kept, and let it end at last; return how often it was killed."""
    kills = 0
    for wanted in range(1, fits):
        with started(toml, *words) as child:
            while child.poll() is None and n_fits(toml) < wanted:
                time.sleep(0.01)
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                kills += 1
    assert started(toml, *words).wait() == 0
    return kills


def comparable(folder: Path) -> Mapping[str, list[list[str]]]:
    """Read every table as text without the columns of measured times."""
    found = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        kept = [i for i, name in enumerate(header) if name not in MEASURED]
        found[path.name] = [[row[i] for i in kept] for row in (header, *rows)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "fits", "tables"),
    [((), 36, "leaderboard.csv"), (("--budget", "60"), 6, "halving.csv")],
    ids=["whole grid", "within a budget"],
)
def test_a_study_killed_several_times_equals_one_that_nobody_stopped(
    write_experiment, tmp_path, words, fits, tables
):
    whole, stopped = (tmp_path / name for name in ("whole", "stopped"))
    for folder in (whole, stopped):
        folder.mkdir()
    expected, found = (write_experiment(folder, f"{LINEAR}{ATTENTION}") for folder in (whole, stopped))
    assert started(expected, *words).wait() == 0
    assert n_fits(expected) == fits
    assert killed_at_each_fit(found, *words, fits=min(fits, 5)) >= 3
    assert n_fits(found) == fits
    before, after = comparable(whole / "out"), comparable(stopped / "out")
    assert tables in before
    assert after == before
