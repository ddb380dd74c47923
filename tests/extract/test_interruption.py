"""Kill stage 1 at random instants; the long form is `python benchmarks/stage1_kills.py`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_nothing_but_the_patient_in_flight_is_lost():
    words = [sys.executable, "benchmarks/stage1_kills.py", "--kills", "6"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "two runs at once over one folder: byte-identical too" in done.stdout
