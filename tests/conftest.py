"""Material that several rooms of the suite share."""

import os
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from aggregate.cohort.bag_sets import BagList
from aggregate.cohort.patients import Patients
from pipeline.bags import Bag, BagHeader, Recipe, Source, write_bag

# Two test processes share two cores; more threads in each only wait for one another. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LONGEST = {"test_commands_of_pages.py", "test_real_ct.py", "test_commands.py", "test_page.py"}
"""Files that take longest: begun first, so that no process waits for another at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


PHASES = ("NC", "AP", "PVP", "DP")
CLASSES = ("HCC", "iCCA", "cHCC-CCA")
RECIPE = Recipe("resnet18", "penultimate", "random:0", "0" * 64, "float32", {"crop_mm": 96.0})


def draw_bag(
    patient_id: str, label: int, rng: np.random.Generator, *, dim: int = 16, signal: float = 1.5
) -> Bag:
    """Draw a bag whose arterial instances shift along the axis of the label; a phase is missing now and then."""
    present = [p for p in range(4) if p == 1 or rng.random() > 0.15]
    phase = np.repeat(present, rng.integers(2, 7, size=len(present))).astype(np.int8)
    features = rng.normal(size=(len(phase), dim)).astype(np.float32)
    features[phase == 1, label] += signal
    index = np.concatenate([np.arange(np.sum(phase == p)) for p in present]).astype(np.int32)
    sources = {
        PHASES[p]: Source(f"{patient_id}_{p}.nii.gz", f"{patient_id}-{p}", "m", "drawn", (1.0, 1.0, 5.0), 40)
        for p in present
    }
    missing = {name: "no scan in the cohort table" for name in PHASES if name not in sources}
    return Bag(
        header=BagHeader(
            patient_id, PHASES, missing, ("tight",), RECIPE, sources, f"key-{patient_id}-{label}", 96e3, 224
        ),
        features=features,
        phase=phase,
        slice_index=index,
        z_mm=(index * 5).astype(np.float32),
        tumour_area_mm2=rng.uniform(50, 900, size=len(phase)).astype(np.float32),
        lesion=np.ones(len(phase), dtype=np.int16),
        scale=np.zeros(len(phase), dtype=np.int8),
    )


def at_two_scales(bag: Bag) -> Bag:
    """Return the bag with every slice at the scale `context` too, where its features are minus a half of those at `tight`."""
    header = replace(bag.header, scale_names=("tight", "context"))
    wide = replace(bag, features=-bag.features / 2, scale=np.ones_like(bag.scale))
    arrays = {
        f.name: np.concatenate([getattr(bag, f.name), getattr(wide, f.name)])
        for f in fields(Bag)
        if f.name != "header"
    }
    both = Bag(header=header, **arrays)
    return both.take(np.lexsort((both.slice_index, both.scale, both.phase)))


def patients_of(bags: list[Bag], labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Patients:
    """Return the table of patients with one bag each."""
    return Patients(
        patient_ids=tuple(bag.patient_id for bag in bags),
        codes=np.asarray(labels, dtype=np.intp),
        classes=classes,
        bag_sets={"bags": BagList(bags)},
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261123)


@pytest.fixture(scope="session")
def bags_and_labels() -> tuple[list[Bag], np.ndarray]:
    """Sixty patients of three classes with a signal in the arterial phase."""
    rng = np.random.default_rng(5)
    labels = np.tile(np.arange(3), 20)
    return [draw_bag(f"p{i:03}", int(label), rng) for i, label in enumerate(labels)], labels


@pytest.fixture(scope="session")
def write_experiment(bags_and_labels, tmp_path_factory) -> Callable[[Path, str], Path]:
    """Return a function that writes bags, a cohort table and a configuration into a folder."""
    bags, labels = bags_and_labels
    once = tmp_path_factory.mktemp("bags")
    rows = ["patient_id,phase,image,mask,label,age,centre"]
    for i, (bag, label) in enumerate(zip(bags, labels, strict=True)):
        write_bag(once, bag)
        covariates = f"{CLASSES[label]},{40 + i % 37},c{i % 2}"
        rows += [f"{bag.patient_id},{phase},{phase}.nii.gz,,{covariates}" for phase in bag.header.sources]

    def write(folder: Path, text: str) -> Path:
        shutil.copytree(once, folder / "out" / "bags", dirs_exist_ok=True)
        (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
        head = 'name = "toy"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n'
        (folder / "experiment.toml").write_text(head + text)
        return folder / "experiment.toml"

    return write


@pytest.fixture
def experiment_folder(tmp_path: Path, write_experiment) -> Callable[[str], Path]:
    """Return a function that writes an experiment with the given TOML into the test's own folder."""
    return lambda text: write_experiment(tmp_path, text)
