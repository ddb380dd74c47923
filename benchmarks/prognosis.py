"""Uno's C-index of each model of configs/survival.toml beside that of the drawn risk, over several cohorts.

    for seed in 1 2 3; do
        python extract.py phantom configs/survival.toml output=WORK/s$seed cohort.table=WORK/s$seed/cohort/cohort.csv phantom.seed=$seed
        python extract.py run configs/survival.toml output=WORK/s$seed cohort.table=WORK/s$seed/cohort/cohort.csv
    done
    python benchmarks/prognosis.py --seeds 1 2 3 --work WORK

Seeds above 200 are for checking a choice, never for making one.
"""

import argparse
from pathlib import Path

import numpy as np
from reference import ROOT, write_reference

from aggregate.commands import application
from pipeline.tables import read_table

CONFIG = ROOT / "configs" / "survival.toml"
METRICS = ("uno_c", "harrell_c", "integrated_brier")


def rows_of(seed, work):
    """Run the models on the cohort of a seed, and return the rows of the metrics."""
    folder = work / f"s{seed}"
    given = [f"output={folder}", f"cohort.table={folder / 'cohort' / 'cohort.csv'}"]
    application(["run", str(CONFIG), *given], standalone_mode=False)
    rows = read_table(folder / "tables" / "outcome_performance.csv")
    return {(row["model"], row["metric"]): row for row in rows if row["metric"] in METRICS}


def table(found):
    """Yield a row per model and metric: a column for each seed, with the interval, and the mean."""
    for model, metric in next(iter(found.values())):
        rows = {seed: of_seed[model, metric] for seed, of_seed in found.items()}
        yield {
            "model": model,
            "metric": metric,
            "mean": f"{np.mean([float(row['estimate']) for row in rows.values()]):.3f}",
            **{
                f"seed_{seed}": " ".join(
                    [
                        f"{float(row['estimate']):.3f}",
                        *(
                            [f"[{float(row['ci_low']):.3f}, {float(row['ci_high']):.3f}]"]
                            if row["ci_low"] not in ("", "not estimable")
                            else []
                        ),
                    ]
                )
                for seed, row in rows.items()
            },
            "events": "+".join(row["n_events"] for row in rows.values()),
        }


def main():
    """Print and write results/reference/prognosis.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    rows = list(table({seed: rows_of(seed, given.work) for seed in given.seeds}))
    for row in rows:
        print(" | ".join(row.values()))
    write_reference(ROOT / "results" / "reference" / "prognosis.csv", rows)


if __name__ == "__main__":
    main()
