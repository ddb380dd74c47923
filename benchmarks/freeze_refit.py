"""Which models a package should hold: those of the folds, averaged, or one that is fitted anew on all patients.

    python benchmarks/freeze_refit.py --seeds 1 2 3 4 5 --work /some/folder

For each seed a phantom cohort like configs/study.toml (120 patients) is classified in 5 folds x 2 repeats, each model is frozen in
both ways, and both packages are asked about the cohorts of the next two seeds (240 patients that nothing was learned from).
Told are macro AUC, log loss and the calibration slope (mean over the classes, ideal 1), the last two with and without the temperature
of the package. Seeds above 200 are for checking a choice, never for making one.
"""

import argparse
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from features import CONFIG, EMBEDDED, embedded
from reference import write_reference
from rich.console import Console
from sklearn.metrics import log_loss, roc_auc_score

from aggregate.cohort.patients import Patients
from aggregate.commands import application
from aggregate.package.freezing import FreezeChoices, freeze_model
from aggregate.statistics.calibration import calibration_slope

MODELS = {
    "phase_concat_ensemble": 'kind = "ensemble"\nmodel = "phase_concat"\nparameters = { features = ["lesion"] }',
    "phase_concat": 'kind = "phase_concat"\nfeatures = ["lesion"]',
    "phase_pooling": 'kind = "phase_pooling"\nfeatures = ["lesion"]',
    "attention_mil": 'kind = "attention_mil"\nfeatures = ["lesion"]',
    "measures_xgboost": 'kind = "xgboost"\nfeatures = ["measures"]',
}
REFITS = ("folds", "all")
N_EXTERNAL = 2


def run(seed, work, place):
    """Cross-validate the models on the cohort of a seed; return the results folder."""
    bags, cohort = embedded(seed, EMBEDDED, work)
    results = place / str(seed)
    results.mkdir(exist_ok=True)
    head = CONFIG.read_text(encoding="utf-8").partition("[cohort]")[2].partition("[phantom]")[0]
    head = "\n".join(line for line in head.splitlines() if not line.startswith("table"))
    tables = "\n".join(f"[aggregate.model.{name}]\n{text}" for name, text in MODELS.items())
    (place / f"{seed}.toml").write_text(
        f'name = "freeze_{seed}"\noutput = "{results}"\n[cohort]\ntable = "{cohort}"\n{head}\n'
        f'[aggregate]\nseed = {seed}\nexplain = false\nbaselines = false\n[aggregate.bags.bags]\nfolder = "{bags}"\n'
        f"[aggregate.splits]\nfolds = 5\nrepeats = 2\n[aggregate.statistics]\ndraws = 200\n{tables}\n",
        encoding="utf-8",
    )
    application(["run", str(place / f"{seed}.toml")], standalone_mode=False)
    return results


@cache
def patients_of(seed, work):
    bags, cohort = embedded(seed, EMBEDDED, work)
    return Patients.read({"bags": bags}, cohort=cohort)


def measured(probabilities, labels):
    """Return macro AUC, log loss and calibration slope."""
    slopes = [
        calibration_slope(probabilities[None, :, k], labels == k).value for k in range(probabilities.shape[1])
    ]
    return {
        "macro_auc": float(roc_auc_score(labels, probabilities, multi_class="ovr")),
        "log_loss": float(log_loss(labels, probabilities)),
        "slope": float(np.mean(slopes)),
    }


def rows_of(seed, seeds, work, place):
    """Yield one row per model and way of refitting, as measured on the cohorts of the next seeds."""
    results = run(seed, work, place)
    others = [seeds[(seeds.index(seed) + step) % len(seeds)] for step in range(1, N_EXTERNAL + 1)]
    cohorts = [patients_of(other, work) for other in others]
    labels = np.concatenate([cohort.codes for cohort in cohorts])
    for model in MODELS:
        for refit in REFITS:
            choices = FreezeChoices(model, refit, overwrite=True)
            package = freeze_model(results, place / f"package_{seed}", choices, console=Console(quiet=True))
            raw = np.concatenate([package.uncalibrated(cohort) for cohort in cohorts])
            before, after = measured(raw, labels), measured(package.calibration(raw), labels)
            yield {
                "model": model,
                "refit": refit,
                "seed": seed,
                "external_seeds": "+".join(map(str, others)),
                "macro_auc": after["macro_auc"],
                "log_loss_uncalibrated": before["log_loss"],
                "log_loss": after["log_loss"],
                "slope_uncalibrated": before["slope"],
                "slope": after["slope"],
                "temperature": package.calibration.temperature,
            }


def means(rows):
    """Yield, after the rows, the means over the seeds, and the difference of both ways with its standard error over the seeds."""
    figures = [name for name, value in rows[0].items() if isinstance(value, float)]
    for model in MODELS:
        of = {
            refit: np.array(
                [[r[name] for name in figures] for r in rows if (r["model"], r["refit"]) == (model, refit)]
            )
            for refit in REFITS
        }
        gap = of["folds"] - of["all"]
        error = gap.std(axis=0, ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.full(len(figures), np.nan)
        told = {
            **{refit: of[refit].mean(axis=0) for refit in REFITS},
            "folds minus all": gap.mean(axis=0),
            "its standard error": error,
        }
        for name, values in told.items():
            yield {
                "model": model,
                "refit": name,
                "seed": "mean",
                "external_seeds": "",
                **dict(zip(figures, map(float, values), strict=True)),
            }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--work", type=Path, help="keep cohorts and bags there, or take those that are there")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        rows = []
        for seed in arguments.seeds:
            rows += rows_of(seed, arguments.seeds, work, Path(name))
            for row in rows[-len(MODELS) * len(REFITS) :]:
                print(
                    {
                        key: round(value, 3) if isinstance(value, float) else value
                        for key, value in row.items()
                    },
                    flush=True,
                )
    rows += means(rows)
    for row in rows:
        if row["seed"] == "mean":
            print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    if arguments.output is not None:
        write_reference(arguments.output, rows)


if __name__ == "__main__":
    sys.exit(main())
