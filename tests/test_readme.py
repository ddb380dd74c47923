"""The README's commands, run as a user runs them; only the demo's cohort, repeats and resamples are made fewer."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tables import read_table

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
MAKE = [command for command in COMMANDS if command.startswith("make ")]
PYTHON = [command for command in COMMANDS if command.startswith("python ")]


@pytest.fixture(scope="module")
def playground(tmp_path_factory) -> Path:
    """A folder with the two scripts and the demo's configuration, its cohort made tiny and split once."""
    folder = tmp_path_factory.mktemp("readme")
    for script in ("extract.py", "aggregate.py"):
        (folder / script).symlink_to(ROOT / script)
    (folder / "configs").mkdir()
    text = (ROOT / "configs" / "demo.toml").read_text(encoding="utf-8")
    smaller = 'preset = "tiny"\npatients = {HCC = 6, iCCA = 6, cHCC-CCA = 6}'
    tiny = text
    few_draws = "[aggregate.statistics]\ndraws = 200\n[aggregate.statistics.primary]"
    for there, instead in (
        ('preset = "demo"\npatients = .*', smaller),
        ("repeats = 2", "repeats = 1"),
        (r"\[aggregate\.statistics\.primary\].*", few_draws),
    ):
        tiny, replaced = re.subn(f"^{there}$", instead, tiny, flags=re.MULTILINE)
        assert replaced == 1
    (folder / "configs" / "demo.toml").write_text(tiny, encoding="utf-8")
    run("python extract.py phantom configs/demo.toml", folder)
    return folder


def run(command: str, folder: Path) -> str:
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_command_of_the_readme_is_run_by_a_test():
    assert COMMANDS
    assert set(COMMANDS) == set(MAKE) | set(PYTHON)


@pytest.mark.parametrize("command", MAKE)
def test_every_make_target_of_the_readme_exists(command):
    subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, check=True, capture_output=True)


def test_both_stages_run_as_the_readme_says(playground):
    said = "".join(run(command, playground) for command in PYTHON)
    results = playground / "results" / "demo"
    rows = read_table(results / "tables" / "performance.csv")
    assert {"phase_concat", "attention", "mean_pooling", "measures", "fused", "majority"} <= {
        row["model"] for row in rows
    }
    assert all(row["n"] for row in rows)
    assert f"Results: {results}" in said
