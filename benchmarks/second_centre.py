"""What a frozen model loses at a second hospital, and what a recalibration on half of its patients gives back.

    python benchmarks/second_centre.py --seeds 1 2 3 --work /some/folder

For each seed the walk-through of docs/how_to/new_centre.md: the cohort of configs/demo.toml with that seed is classified and each model
frozen; the cohort of configs/second_centre.toml with the next seed is predicted, once recalibrated on 30 patients at random. One
row per model and metric: internal and external estimate of all patients, and of the 30 others before and after recalibration; what
was found to differ; and both for new patients of the first hospital, the demonstration with the next seed, of whom nothing should
differ. `--work` keeps what is drawn, embedded and trained. Seeds above 200 are for checking, never for choosing.
"""

import argparse
import random
import shutil
import sys
from pathlib import Path

from reference import write_reference

from aggregate.commands import application as stage_2
from extract.commands import application as stage_1
from pipeline.tables import read_table

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
MODELS = ("measures", "fused")
N_RECALIBRATED = 30
METRICS = (("macro", "auc"), ("macro", "log_loss"), ("macro", "brier"))


def embedded(config, seed, folder):
    """Draw and embed the cohort of a configuration with a seed; return the overrides that name its folders."""
    places = [f"output={folder}", f"cohort.table={folder / 'cohort' / 'cohort.csv'}"]
    if not (folder / "bags").is_dir() or not (folder / "embedded").exists():
        stage_1(["phantom", str(config), f"seed={seed}", *places], standalone_mode=False)
        stage_1(["run", str(config), *places], standalone_mode=False)
        (folder / "embedded").touch()
    return places


def few_patients(cohort, path, seed):
    """Write patients drawn at random, whatever their label: the recalibration learns the case mix, too."""
    patients = sorted({row["patient_id"] for row in read_table(cohort)})
    chosen = random.Random(seed).sample(patients, N_RECALIBRATED)
    path.write_text("patient_id\n" + "".join(f"{name}\n" for name in chosen), encoding="utf-8")
    return path


def predicted(package, there, out, *words):
    bags, cohort = there / "bags", there / "cohort" / "cohort.csv"
    shutil.rmtree(out, ignore_errors=True)
    asked = ["predict", str(package), str(bags), "--cohort", str(cohort), "--out", str(out), *words]
    stage_2(asked, standalone_mode=False)


def rows_of(seed, work):
    """Yield the rows of a seed."""
    here, there = work / f"{seed}_a", work / f"{seed}_b"
    places = embedded(CONFIGS / "demo.toml", seed, here)
    embedded(CONFIGS / "second_centre.toml", seed + 1, there)
    alike = work / f"{seed + 1}_a"
    embedded(CONFIGS / "demo.toml", seed + 1, alike)
    if not (here / "report.html").exists():
        quick = ["explain=false", "baselines=false"]
        stage_2(["run", str(CONFIGS / "demo.toml"), *places, *quick], standalone_mode=False)
    few = few_patients(there / "cohort" / "cohort.csv", work / f"{seed}_few.csv", seed)
    for model in MODELS:
        package, out = work / f"{seed}_{model}", work / f"{seed}_{model}_predicted"
        freeze = ["freeze", str(here), "--model", model, "--out", str(package), "--overwrite"]
        stage_2(freeze, standalone_mode=False)
        predicted(package, there, out)
        drop = {(row["class"], row["metric"]): row for row in read_table(out / "external_drop.csv")}
        predicted(package, there, out, "--recalibrate", str(few))
        effect = {(row["class"], row["metric"]): row for row in read_table(out / "recalibration.csv")}
        differs = differing(out / "domain_shift_centres.csv")
        predicted(package, alike, out)
        same = {(row["class"], row["metric"]): row for row in read_table(out / "external_drop.csv")}
        same_differs = differing(out / "domain_shift_centres.csv")
        for key in METRICS:
            yield {
                "seed": seed,
                "model": model,
                "metric": key[1],
                **{name: drop[key][name] for name in ("internal", "external", "difference")},
                "same_hospital": same[key]["external"],
                **{name: effect[key][name] for name in ("before", "after")},
                "recalibration": effect[key]["method"],
                "differs": differs,
                "same_hospital_differs": same_differs,
            }


def differing(path):
    found = [
        row for row in read_table(path) if row["p_holm"].startswith("<") or float(row["p_holm"] or 1) < 0.05
    ]
    return "; ".join(dict.fromkeys(f"{r['quantity']} {r['phase'] or r['features']}".strip() for r in found))


def main():
    """Measure the seeds and write results/reference/second_centre.csv, as far as they go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reference" / "second_centre.csv")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in given.seeds:
        rows += rows_of(seed, given.work.resolve())
        write_reference(given.out, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
