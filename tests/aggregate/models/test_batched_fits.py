"""Fits stacked and one by one, as `python benchmarks/batched_fits.py` compares them."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.tables import read_table

ROOT = Path(__file__).resolve().parents[3]


def test_the_comparison_stacks_all_folds_and_finds_the_same_fits(tmp_path):
    table = tmp_path / "batched_fits.csv"
    words = [sys.executable, "benchmarks/batched_fits.py", "--models", "mlp", "--precisions", "float32"]
    done = subprocess.run(
        [*words, "--patients", "30", "--output", str(table)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = read_table(table)
    assert (row["fits"], row["largest_stack"], row["same_best_epoch"]) == ("10", "10", "10")
    assert float(row["max_difference"]) < 1e-4
