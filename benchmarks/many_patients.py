"""Cross-validate models over thousands of small bags on disk, and say what the memory of each step is.

    python benchmarks/many_patients.py [--patients 10000] [--output results/reference/many_patients.csv]

The budgets of bytes in memory are scaled down so that the bags do not fit, as real ones of this many patients would
not. What is sampled is the process's own memory (RssAnon), every 20 ms: the peak of getrusage would count the pages
of the temporary file too, which the system keeps in memory while there is room and gives up for anything else.
`--bags FOLDER` keeps the bags there, and takes those of an earlier call with as many patients and features.
"""

import argparse
import gc
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from reference import write_reference

from aggregate.cohort import bag_sets
from aggregate.cohort.bag_sets import BagFolder
from aggregate.cohort.matching import MatchedCohort
from aggregate.cohort.patient_facts import describe_patient
from aggregate.cohort.patients import Patients
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.fitting.cross_validation import cross_validate, predictions_of, tuning_of
from aggregate.models import instances
from aggregate.planning.fit_tasks import ModelSpec
from aggregate.planning.splits import repeated_folds
from aggregate.store.fit_cache import FitCache
from pipeline.bags import Bag, BagHeader, Recipe, Source, check_one_recipe, list_bags, read_header, write_bag
from pipeline.cohort import Patient
from pipeline.tables import TableStyle

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
RECIPE = Recipe("resnet18", "penultimate", "random:0", "0" * 64, "float32", {})
SPECS = (
    ModelSpec("attention_mil", "attention_mil", {"epochs": 1}),
    ModelSpec("mean_pooling", "mean_pooling", {}),
)
MIB = 2**20


class Nobody:
    """A watcher that takes no note."""

    def fitted(self, task, fit, *, from_cache):
        pass


class Steps(threading.Thread):
    """Runs steps one after the other and notes the seconds and the own memory of each."""

    def __init__(self):
        super().__init__(daemon=True)
        self.rows = []
        self._peak = 0

    def run(self):
        while True:
            self._peak = max(self._peak, own_bytes())
            time.sleep(0.02)

    def take(self, step, function):
        """Return what the function returns; memory afterwards is what is left once nothing unused is."""
        before = self._peak = own_bytes()
        begin = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - begin
        peak = max(self._peak, own_bytes())
        gc.collect()
        row = {"own_mib_before": before, "own_mib_peak": peak, "own_mib_after": own_bytes()}
        self.rows.append({"step": step, "seconds": seconds, **{k: v / MIB for k, v in row.items()}})
        print(
            ", ".join(f"{k} {v:.1f}" if isinstance(v, float) else v for k, v in self.rows[-1].items()),
            flush=True,
        )
        return result


def own_bytes():
    """Return RssAnon in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def write_bags(folder, n_patients, n_features):
    """Write bags of 20 to 60 slices."""
    rng = np.random.default_rng(0)
    for number in range(n_patients):
        n = int(rng.integers(20, 61))
        features = rng.normal(size=(n, n_features)).astype(np.float32)
        features[:, number % 3] += 0.3
        write_bag(folder, as_bag(f"p{number:05}", features))


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
    """Open the bags as `load_study` does, without a cohort table."""
    paths = list_bags(folder)
    headers = tuple(read_header(path) for path in paths.values())
    present = [(header.patient_id, header.phases_present) for header in headers]
    matched = MatchedCohort(
        rows=tuple(Patient(name, {}, CLASSES[number % 3]) for number, name in enumerate(paths)),
        classes=CLASSES,
        bag_sets={"bags": BagFolder(folder, present, bytes_kept=bag_sets._FEATURE_BYTES_KEPT)},
        headers={"bags": headers},
        recipes={"bags": check_one_recipe(headers)},
    )
    return StudyCohort("many", Patients.of(matched), matched)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--budget-mib", type=int, default=32, help="of packed features, and of bags kept")
    parser.add_argument("--bags", type=Path, help="keep the bags there, or take those that are there")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    instances._FEATURE_BYTES_IN_MEMORY = arguments.budget_mib * MIB
    bag_sets._FEATURE_BYTES_KEPT = arguments.budget_mib * MIB
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.bags or Path(name) / "bags"
        if len(list_bags(folder)) != arguments.patients:
            write_bags(folder, arguments.patients, arguments.features)
        steps = Steps()
        steps.start()
        take_steps(steps, folder, arguments.folds, FitCache(Path(name) / "cache"))
        n_slices = int(open_study(folder).patients.bag_sizes().sum())
    facts = {
        "patients": arguments.patients,
        "features_mib": n_slices * arguments.features * 4 / MIB,
        "budget_mib": arguments.budget_mib,
    }
    rows = [facts | row for row in steps.rows]
    print(", ".join(f"{name} {value:.0f}" for name, value in facts.items()))
    if arguments.output is not None:
        write_reference(arguments.output, rows, style=TableStyle(digits=1))


def take_steps(steps, folder, n_folds, cache):
    """Open the bags, go through the parts of one training, then cross-validate as `aggregate.py run` does."""
    study = steps.take("read the headers", lambda: open_study(folder))
    lay_and_sum(steps, study)
    folds = repeated_folds(study.patients, folds=n_folds, repeats=1, tune_share=0.2, seed=0)
    results = [
        steps.take(
            f"cross-validate {spec.name}",
            lambda spec=spec: cross_validate(
                study, folds, [spec], cache=cache, seed=0, jobs=1, watcher=Nobody()
            ),
        )
        for spec in SPECS
    ]
    steps.take("gather what was predicted", lambda: [gather(study, result) for result in results])
    steps.take(
        "describe the patients",
        lambda: [describe_patient(study.patients.first_bag(i), row) for i, row in enumerate(study.rows)],
    )


def lay_and_sum(steps, study):
    """Take the two steps that every training of a network begins with."""
    packed = steps.take("lay the bags end to end", lambda: instances.pack(bags_of(study.patients)))
    steps.take("measure the scaling", lambda: instances.Scaling.of(packed.features))


def bags_of(patients):
    return (patients.first_bag(i) for i in range(len(patients)))


def gather(study, result):
    return predictions_of(study, result), tuning_of(study, result)


if __name__ == "__main__":
    main()
