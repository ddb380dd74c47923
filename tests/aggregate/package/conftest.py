"""A small run that is frozen once, and new patients to ask about."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from aggregate.package.package_files import RECORD, hashes_of_files
from aggregate.run_folder.run_record import RECORD as RUN_RECORD
from pipeline.bags import Bag, write_bag
from tests.aggregate.conftest import QUICK, command
from tests.conftest import CLASSES, draw_bag

RUN = f"""{QUICK}
[aggregate.model.mean]
kind = "mean_pooling"
[aggregate.model.with_age]
kind = "mean_pooling"
covariates = ["age", "sex"]
[aggregate.model.arterial]
kind = "single_phase"
phase = "AP"
[aggregate.model.scaled]
kind = "calibrated"
model = "mean_pooling"
[aggregate.model.columns]
kind = "covariates"
covariates = ["age", "sex"]
[aggregate.model.trees]
kind = "random_forest"
trees = 5
"""


N_TRAINING = 60


def planted(i: int) -> dict[str, str]:
    """Return what the cohort table says of a training patient, in words and numbers that stand nowhere else."""
    return {
        "patient_id": f"planted{i:03}",
        "label": CLASSES[i % len(CLASSES)],
        "age": f"{40.0371 + 0.7313 * i:.4f}",
        "sex": "FM"[i // 3 % 2],
        "note": f"secret{i:03}",
        "centre": f"c{i % 2}",
    }


def write_training(folder: Path, text: str) -> Path:
    """Write bags, cohort table and configuration of a small experiment."""
    rng = np.random.default_rng(5)
    rows = [planted(i) for i in range(N_TRAINING)]
    write_bags(
        folder / "out" / "bags",
        [draw_bag(row["patient_id"], i % len(CLASSES), rng) for i, row in enumerate(rows)],
    )
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    head = 'name = "toy"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n'
    (folder / "experiment.toml").write_text(head + text)
    return folder / "experiment.toml"


@pytest.fixture(scope="session")
def run_once(tmp_path_factory) -> Path:
    """Run the models of this folder once; tests do not change it."""
    folder = tmp_path_factory.mktemp("run")
    command("run", write_training(folder, RUN))
    return folder / "out"


@pytest.fixture
def run(run_once, tmp_path) -> Path:
    """The run in the test's own folder, which it may change."""
    shutil.copytree(run_once.parent, tmp_path / "experiment")
    record = tmp_path / "experiment" / "out" / RUN_RECORD
    record.write_text(record.read_text().replace(str(run_once.parent), str(tmp_path / "experiment")))
    return tmp_path / "experiment" / "out"


@pytest.fixture(scope="session")
def frozen_once(run_once, tmp_path_factory) -> Path:
    """The package of the model `mean`; tests see copies of it only."""
    package = tmp_path_factory.mktemp("frozen") / "package"
    command("freeze", run_once, "--model", "mean", "--out", package)
    return package


@pytest.fixture
def package(frozen_once, tmp_path) -> Path:
    """The package, in the test's own folder."""
    shutil.copytree(frozen_once, tmp_path / "package")
    return tmp_path / "package"


def new_bags(n: int = 12, *, seed: int = 77) -> list[Bag]:
    """Draw patients of whom nothing was learned."""
    rng = np.random.default_rng(seed)
    return [draw_bag(f"new{i:03}", i % len(CLASSES), rng) for i in range(n)]


def write_bags(folder: Path, bags: Sequence[Bag]) -> Path:
    """Write bags to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for bag in bags:
        write_bag(folder, bag)
    return folder


def write_labels(path: Path, bags: Sequence[Bag], **columns: Sequence[object]) -> Path:
    """Write a table of patients with their labels, and further columns."""
    lines = [",".join(["patient_id", "label", *columns])]
    for i, bag in enumerate(bags):
        lines.append(
            ",".join([bag.patient_id, CLASSES[i % len(CLASSES)], *(str(c[i]) for c in columns.values())])
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def seal_again(package: Path) -> None:
    """Let package.json list the files as they are now, as somebody who knows the format would."""
    record = json.loads((package / RECORD).read_text())
    record["files"] = dict(hashes_of_files(package))
    (package / RECORD).write_text(json.dumps(record))
