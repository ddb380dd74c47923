"""Cross-validate models over thousands of small bags on disk, and compare the memory taken with all their bytes.

    python benchmarks/many_patients.py --patients 10000

The budgets of bytes in memory are scaled down so that the bags do not fit, as real ones of this many patients would
not. The peak of getrusage counts the pages of the temporary file that the system happens to keep in memory, and
would give up for anything else; the peak of the process's own memory (RssAnon, sampled) does not.
"""

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from aggregate import study as study_module
from aggregate.cache import FitCache
from aggregate.cohort_facts import describe_patient
from aggregate.crossval import ModelSpec, cross_validate, predictions_of, tuning_of
from aggregate.models import packing
from aggregate.splits import repeated_folds
from aggregate.study import BagFolder, Study
from pipeline.bags import Bag, BagHeader, Recipe, Source, check_one_recipe, list_bags, read_header, write_bag
from pipeline.cohort import Patient

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
RECIPE = Recipe("resnet18", "penultimate", "random:0", "0" * 64, "float32", {})
SPECS = (
    ModelSpec("mean_pooling", "mean_pooling", {}),
    ModelSpec("attention_mil", "attention_mil", {"epochs": 1}),
)
MIB = 2**20


class Progress:
    """Prints when each model's first and last fit was done."""

    def __init__(self):
        self.started, self.count = time.perf_counter(), 0

    def fitted(self, task, fit, *, from_cache):
        del fit, from_cache
        self.count += 1
        print(
            f"  {time.perf_counter() - self.started:7.1f} s  {task.spec.name}, fold {task.fold.fold}",
            flush=True,
        )


class OwnMemory(threading.Thread):
    """Samples the memory of this process that no file stands behind."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0

    def run(self):
        while True:
            self.peak = max(self.peak, own_bytes())
            time.sleep(0.05)


def own_bytes():
    """Return RssAnon in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def peak_bytes():
    """Return the peak of all resident memory, with what is mapped from files: libraries and packed features."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_bags(folder, n_patients, n_features):
    """Write bags of 20 to 60 slices; return the bytes of their features."""
    rng = np.random.default_rng(0)
    total = 0
    for number in range(n_patients):
        n = int(rng.integers(20, 61))
        features = rng.normal(size=(n, n_features)).astype(np.float32)
        features[:, number % 3] += 0.3
        write_bag(folder, as_bag(f"p{number:05}", features))
        total += features.nbytes
    return total


def as_bag(patient_id, features):
    n = len(features)
    source = Source("a.nii.gz", patient_id, "0", "drawn", (1.0, 1.0, 3.0), n)
    header = BagHeader(patient_id, ("AP",), {}, ("tight",), RECIPE, {"AP": source}, patient_id, 1e5, 224)
    return Bag(
        header=header,
        features=features,
        phase=np.zeros(n, np.int8),
        slice_index=np.arange(n, dtype=np.int32),
        z_mm=np.arange(n, dtype=np.float32),
        tumour_area_mm2=np.ones(n, np.float32),
        lesion=np.ones(n, np.int16),
        scale=np.zeros(n, np.int8),
    )


def open_study(folder):
    """Open the bags as load_study does, without a cohort table."""
    paths = list_bags(folder)
    headers = tuple(read_header(path) for path in paths.values())
    labels = np.arange(len(paths)) % 3
    return Study(
        name="many",
        bags=BagFolder(folder, list(paths), bytes_kept=study_module._FEATURE_BYTES_KEPT),
        headers=headers,
        labels=labels,
        classes=CLASSES,
        patients=tuple(Patient(name, {}, CLASSES[label]) for name, label in zip(paths, labels, strict=True)),
        recipe=check_one_recipe(headers),
        exclusions=(),
    )  # fmt: skip


def timed(what, function):
    begin = time.perf_counter()
    result = function()
    print(f"{what}: {time.perf_counter() - begin:.1f} s", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--budget-mib", type=int, default=32, help="of packed features, and of bags kept")
    arguments = parser.parse_args()
    packing._FEATURE_BYTES_IN_MEMORY = arguments.budget_mib * MIB
    study_module._FEATURE_BYTES_KEPT = arguments.budget_mib * MIB
    with tempfile.TemporaryDirectory() as name:
        total = timed(
            "write the bags", lambda: write_bags(Path(name), arguments.patients, arguments.features)
        )
        before, peak_before = own_bytes(), peak_bytes()
        sampler = OwnMemory()
        sampler.start()
        study = timed("read the headers", lambda: open_study(Path(name)))
        cross_validate_and_describe(study, arguments.folds, Path(name) / "cache")
    print(
        f"{arguments.patients} bags hold {total / MIB:.0f} MiB of features; budgets {arguments.budget_mib} MiB"
    )
    print(
        f"own memory {before / MIB:.0f} MiB before the bags were opened, {sampler.peak / MIB:.0f} MiB at the peak"
    )
    print(f"getrusage's peak {peak_before / MIB:.0f} MiB before, {peak_bytes() / MIB:.0f} MiB at the end")


def cross_validate_and_describe(study, n_folds, cache):
    folds = repeated_folds(study.roster, folds=n_folds, repeats=1, tune_share=0.2, seed=0)
    result = timed(
        "cross-validate",
        lambda: cross_validate(
            study, folds, SPECS, cache=FitCache(cache), seed=0, jobs=1, watcher=Progress()
        ),
    )
    timed("gather predictions", lambda: predictions_of(study, result))
    timed("gather tuning", lambda: tuning_of(study, result))
    timed(
        "describe patients",
        lambda: [describe_patient(b, p) for b, p in zip(study.bags, study.patients, strict=True)],
    )


if __name__ == "__main__":
    main()
