"""Every network beside the one-bag loop of one_bag_loop.py, on every path that this processor has."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.processor import has_native_bfloat16

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("one_bag_loop.py")
PATHS = ("default", "avx2", "its own")


def run(path, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": path}
    if path == "its own":
        del environment["ATEN_CPU_CAPABILITY"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_every_path():
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PATHS, pool.map(run, PATHS), strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_after_three_epochs_parameters_and_probabilities_are_those_of_the_loop(on_every_path, path):
    for kind, found in on_every_path[path]["kinds"].items():
        assert found["parameters"] < 1e-4, (path, kind, found)
        assert found["probabilities"] < 1e-3, (path, kind, found)


def test_the_paths_are_different_ones(on_every_path):
    assert on_every_path["default"]["capability"] == "DEFAULT"
    assert on_every_path["avx2"]["capability"] in {"AVX2", "DEFAULT"}


@pytest.mark.skipif(not has_native_bfloat16(), reason="this processor has no bfloat16 of its own")
def test_in_bfloat16_every_tensor_goes_the_way_of_the_loop():
    """A gradient that is scrambled in one place goes at right angles to it: a cosine of 0.02 at most."""
    for kind, found in run("its own", "--precision", "bfloat16")["kinds"].items():
        assert found["cosine"] > 0.9, (kind, found)
        assert found["probabilities"] < 0.03, (kind, found)


def test_a_scrambled_gradient_is_seen():
    """The defect that once trained every attention model on noise, put back into one weight."""
    found = run("its own", "--scramble", "attention_mil")["kinds"]["attention_mil"]
    assert found["parameters"] > 1e-2
    assert found["cosine"] < 0.1


@pytest.mark.slow
def test_a_planted_signal_is_learned_as_the_loop_learns_it():
    for kind, found in run("its own", "--learn")["kinds"].items():
        assert found["auc"] >= 0.9, (kind, found)
        assert abs(found["auc"] - found["auc_of_loop"]) <= 0.03, (kind, found)
