"""The phantom with planted faults; the table is `python benchmarks/planted_faults.py`."""

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_check_and_run_name_every_planted_fault_alike_and_as_the_committed_table_says(tmp_path):
    words = [sys.executable, "benchmarks/planted_faults.py", "--table", str(tmp_path / "faults.csv")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = []
    for path in (tmp_path / "faults.csv", ROOT / "results/reference/planted_faults.csv"):
        with path.open(newline="") as stream:
            tables.append([tuple(row.values())[:6] for row in csv.DictReader(stream)])
    assert tables[0] == tables[1]
    assert len(tables[0]) >= 30
    assert all(check == run == expected for *_, expected, check, run in tables[0])
