"""run.log of the commands of stage 2: it stands in the results folder, also after a run that failed."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import TrainingError
from pipeline.run_log import LOG
from tests.aggregate.conftest import SMALL, command, contents

ROOT = Path(__file__).resolve().parents[2]
NETWORK = '[aggregate.model.attention]\nkind = "attention_mil"\n'


def lines_of(folder: Path) -> list[str]:
    """Return the lines of the log without their times."""
    return [line.partition(" ")[2] for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def test_the_log_of_a_run_tells_patients_every_fit_and_the_results(finished_once):
    lines = lines_of(finished_once / "out")
    assert lines[0] == "INFO  begin: aggregate.py run"
    assert lines[-1].startswith("INFO  end: aggregate.py run, after ")
    assert any(line.startswith("DEBUG toy: 60 patients (HCC 20, ") for line in lines)
    fits = [line.partition(" in ")[0] for line in lines if "fitted" in line]
    assert fits == [f"DEBUG fitted mean, repeat 0, fold {fold}" for fold in (0, 1)]
    assert ["INFO", "mean", "60"] in [line.split()[:3] for line in lines]
    assert f"INFO  Results: {finished_once / 'out'}" in lines


def test_verbose_prints_the_fits_as_well(toml):
    assert "fitted mean, repeat 0, fold 1 in" not in command("run", toml)
    shutil.rmtree(toml.parent / "out" / "cache")
    assert "fitted mean, repeat 0, fold 1 in" in command("run", toml, "--verbose")


def test_the_log_is_no_file_of_the_run_and_every_command_adds_to_it(finished):
    before = contents(finished)
    command("report", finished)
    assert LOG not in before["run.json"].decode()
    begun = [line for line in lines_of(finished) if "begin" in line]
    assert begun == ["INFO  begin: aggregate.py run", "INFO  begin: aggregate.py report"]


def test_a_run_that_fails_leaves_its_log_beside_the_earlier_results(finished, toml):
    before = contents(finished)
    toml.write_text(f"{toml.read_text()}{NETWORK}learning_rate = 1e30\n")
    with pytest.raises(TrainingError) as error:
        command("run", toml)
    assert contents(finished) == before
    assert lines_of(finished)[-2:] == [
        f"INFO  {finished}: the results of the earlier run are there, as they were",
        f"ERROR {error.value}",
    ]


def test_a_run_that_is_killed_leaves_its_log(experiment_folder):
    toml = experiment_folder(f"{SMALL}{NETWORK}epochs = 400\npatience = 400\n")
    words = [sys.executable, str(ROOT / "aggregate.py"), "run", str(toml)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        log = toml.parent / "out" / LOG
        while child.poll() is None and not (log.exists() and "fits" in log.read_text()):
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    lines = lines_of(log.parent)
    assert lines[0] == "INFO  begin: aggregate.py run"
    assert not any("end:" in line for line in lines)
    assert not (log.parent / "run.json").exists()
