"""A small experiment, run by its commands, that several modules look at."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregate.commands import application
from aggregate.run_folder.run_record import RECORD
from pipeline.run_log import LOG

QUICK = """
[aggregate]
jobs = 1
baselines = false
explain = false
[aggregate.splits]
folds = 2
repeats = 1
[aggregate.statistics]
draws = 100
[aggregate.figures]
formats = ["svg"]
"""
"""The settings of a run of seconds; its models follow."""
SMALL = f"""{QUICK}[aggregate.model.mean]
kind = "mean_pooling"
"""


def command(*words: object) -> str:
    """Run a command; raise what it raises, as `pipeline.commands` prints it in one line."""
    return CliRunner().invoke(application, [str(word) for word in words], catch_exceptions=False).output


def contents(folder: Path) -> Mapping[str, bytes]:
    """Read every file but those of stage 1, of the cache, and the log, to which every command adds."""
    found = (path for path in folder.rglob("*") if path.is_file())
    inside = {path.relative_to(folder): path for path in found}
    return {
        str(name): path.read_bytes()
        for name, path in inside.items()
        if name.parts[0] not in ("bags", "cache", LOG)
    }


@pytest.fixture
def toml(experiment_folder) -> Path:
    return experiment_folder(SMALL)


@pytest.fixture
def out(toml) -> Path:
    return toml.parent / "out"


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory, write_experiment) -> Path:
    """Run the small experiment once for all tests, which see copies of it only."""
    folder = tmp_path_factory.mktemp("finished")
    command("run", write_experiment(folder, SMALL))
    return folder


@pytest.fixture
def finished(finished_once, toml, out) -> Path:
    """Return the results of the small experiment, as if it had been run in the test's own folder."""
    shutil.copytree(finished_once / "out", out, dirs_exist_ok=True)
    record = out / RECORD
    record.write_text(record.read_text().replace(str(finished_once), str(toml.parent)))
    return out
