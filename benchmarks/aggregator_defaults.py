"""Which parameters of each aggregator are its defaults, and what others reach on the same phantom cohorts.

    python benchmarks/aggregator_defaults.py --seeds 1 2 3 --work /some/folder --output results/reference/aggregator_defaults.csv

Every candidate reads the lesion about the liver's HU (the first recipe of benchmarks/features.py, whose --work folder is used
again), XGBoost the measures, too, in 5 folds. Beside the macro AUC stands the log loss, which a change of the rate moves
first. Never run it on seeds above 200: they are kept for checks.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from features import EMBEDDED, aucs, embedded, tables_of
from reference import write_reference
from sklearn.metrics import log_loss

from aggregate.cohort.patients import Patients
from aggregate.models.registry import build_model
from aggregate.planning.splits import repeated_folds

IMAGE = {"features": ["lesion"]}
MEASURES = {"features": ["measures"]}
CANDIDATES = {
    "attention_mil": [
        {},
        {"learning_rate": 3e-4},
        {"learning_rate": 1e-4},
        {"learning_rate": 3e-4, "hidden": 32, "dropout": 0.5},
    ],
    "phase_attention": [{}, {"learning_rate": 3e-4}, {"learning_rate": 1e-4}],
    "phase_concat": [{}, {"rank": 8}, {"pool": "mean"}, {"differences": False}],
    "mean_pooling": [{}, {"strengths": [1e-5, 1e-4, 1e-3, 1e-2]}],
    "phase_pooling": [{}, {"differences": False}],
    "xgboost": [{}, {"differences": True}, {"max_depth": 2}, {"statistics": ["mean"], "differences": True}],
}
"""Kind -> parameters beside those of a kind; {} are the defaults."""


def told(parameters):
    """Return parameters in words."""
    return ", ".join(f"{name} = {value}" for name, value in parameters.items()) or "defaults"


def rows_of(seed, work, kinds, jobs):
    """Yield one row per candidate on the cohort of a seed."""
    assert seed <= 200, "seeds above 200 are kept for checks"
    bags, cohort = embedded(seed, EMBEDDED, work)
    patients = Patients.read(bags, cohort=cohort)
    folds = repeated_folds(patients, folds=5, repeats=2, tune_share=0.2, seed=seed)
    folds = [fold for fold in folds if fold.repeat == 0]
    read = [
        (kind, what, view, parameters)
        for kind in kinds
        for what, view in (("image", IMAGE), *([("measures", MEASURES)] if kind == "xgboost" else []))
        for parameters in CANDIDATES[kind]
    ]
    models = {number: (kind, {**view, **own}) for number, (kind, _, view, own) in enumerate(read)}
    for kind, parameters in models.values():
        build_model(kind, parameters, random_state=0)
    tables = tables_of(patients, folds, models, seed, jobs)
    for (kind, what, _, own), table in zip(read, tables.values(), strict=True):
        first = table[:1]
        loss = log_loss(patients.codes, first[0], labels=list(range(len(patients.classes))))
        yield {
            "kind": kind,
            "reads": what,
            "parameters": told(own),
            "seed": seed,
            "log_loss": loss,
            **aucs(patients, first),
        }


def means(rows):
    """Yield one row per candidate: means over the seeds."""
    for key in dict.fromkeys((row["kind"], row["reads"], row["parameters"]) for row in rows):
        own = [row for row in rows if (row["kind"], row["reads"], row["parameters"]) == key]
        figures = {
            name: float(np.mean([row[name] for row in own]))
            for name in ("macro_auc", "auc_chcc_cca", "log_loss")
        }
        seeds = "+".join(str(row["seed"]) for row in own)
        yield dict(zip(("kind", "reads", "parameters"), key, strict=True)) | figures | {"seeds": seeds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", default=list(CANDIDATES))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder of benchmarks/features.py")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        rows = [
            row for seed in arguments.seeds for row in rows_of(seed, work, arguments.kinds, arguments.jobs)
        ]
    found = list(means(rows))
    for row in found:
        print(
            f"{row['kind']:16}{row['reads']:10}{row['parameters']:50}{row['macro_auc']:.3f}   log loss {row['log_loss']:.3f}"
        )
    if arguments.output is not None:
        write_reference(arguments.output, found)


if __name__ == "__main__":
    sys.exit(main())
