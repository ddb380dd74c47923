"""A tiny cohort through both stages, two packages of it, and a new patient to ask about."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from aggregate.commands import application as stage_2
from extract.commands import application as stage_1
from extract.vision import torchvision_models
from phasemil.commands import application
from tests.aggregate.conftest import QUICK
from tests.conftest import CLASSES
from tests.extract.conftest import Playground, draw_scan, save

PHASES = ("AP", "PVP")
MODELS = f"""{QUICK}
[aggregate.model.mean]
kind = "mean_pooling"
[aggregate.model.attention]
kind = "attention_mil"
[aggregate.model.with_age]
kind = "mean_pooling"
covariates = ["age", "grade"]
"""


@dataclass(frozen=True)
class Asked:
    """What a call gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.out)


def run(stage: object, *words: object) -> None:
    """Run a command of a stage; raise what it raises."""
    done = CliRunner().invoke(stage, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def ask(*words: object) -> Asked:
    """Call `phasemil`; raise what it raises, as `pipeline.commands` prints it in one line."""
    done = CliRunner().invoke(application, [str(word) for word in words], catch_exceptions=False)
    return Asked(done.exit_code, done.stdout, done.stderr)


def write_weights(path: Path, seed: int) -> Path:
    """Write weights of a SqueezeNet that nobody has trained."""
    torch.manual_seed(seed)
    save_file(torchvision_models().squeezenet1_0(weights=None).state_dict(), path)
    return path


def draw(seed: int, contrast_hu: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scan whose tumour has another contrast to the body."""
    hu, mask = draw_scan(seed)
    hu[mask > 0] += np.int16(contrast_hu - 60)
    return hu, mask


def write_cohort(folder: Path) -> Playground:
    """Write 21 patients of three classes; every seventh has the arterial phase alone."""
    ground = Playground(folder)
    for i in range(21):
        patient, label = f"T{i:02}", i % 3
        for number, phase in enumerate(PHASES[: 1 if i % 7 == 3 else 2]):
            hu, mask = draw(100 + 10 * i + number, 40 + 40 * label * (1 - number))
            save(folder / f"{patient}_{phase}.nii.gz", hu)
            save(folder / f"{patient}_{phase}_mask.nii.gz", mask)
            names = {"image": f"{patient}_{phase}.nii.gz", "mask": f"{patient}_{phase}_mask.nii.gz"}
            more = {"age": str(40 + i), "grade": "12x"[i % 3 if i % 6 else 2]}
            ground.add(patient, phase, label=CLASSES[label], **names, **more)
    return ground


def configuration(weights: Path, *, slices: str = "", models: str = MODELS) -> str:
    """Return the tables of a configuration after [cohort]."""
    return (
        f'phases = ["AP", "PVP"]\n[extract]\nencoder = "squeezenet1_0"\nweights = "{weights.name}"\nprecision = "float32"\n'
        f'device = "cpu"\n{slices}\n[extract.input]\nsize_px = 32\nscales_mm = {{ tight = 24.0 }}\n{models}'
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of the tiny run, with the results in `out`; tests do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    ground = write_cohort(folder)
    weights = write_weights(folder / "own.safetensors", 0)
    config = ground.configure(configuration(weights))
    run(stage_1, "run", config)
    run(stage_2, "run", config)
    return folder


@pytest.fixture(scope="session")
def weights(trained) -> Path:
    return trained / "own.safetensors"


@pytest.fixture(scope="session")
def freeze(trained, tmp_path_factory) -> Callable[[str], Path]:
    """Return a function from a model to its package, frozen once; tests do not change it."""
    made: dict[str, Path] = {}

    def frozen(model: str) -> Path:
        if model not in made:
            made[model] = tmp_path_factory.mktemp("frozen") / "package"
            run(
                stage_2,
                "freeze",
                trained / "out",
                "--model",
                model,
                "--out",
                made[model],
                "--keep-rare-words",
            )
        return made[model]

    return frozen


@pytest.fixture
def package(freeze) -> Path:
    return freeze("mean")


def write_patient(folder: Path, phases: Sequence[str] = PHASES) -> list[str]:
    """Write the scans and masks of a new patient; return the options that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    words = []
    for phase in phases:
        number = PHASES.index(phase)
        hu, mask = draw(900 + number, 70 - 20 * number)
        image = save(folder / f"Miller_{phase}.nii.gz", hu)
        drawn = save(folder / f"Miller_{phase}_mask.nii.gz", mask)
        words += ["--scan", f"{phase}={image}", "--mask", f"{phase}={drawn}"]
    return words


@pytest.fixture
def scans(tmp_path) -> list[str]:
    return write_patient(tmp_path / "Miller")
