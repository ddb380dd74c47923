"""Imaging, biopsy, and both, over several cohorts: fusion.csv of configs/biopsy.toml, as means over the seeds.

    python benchmarks/fusion.py --seeds 2 3 4 5 6 7 8 --work /some/folder

For each seed a phantom cohort like configs/study.toml (120 patients) with the biopsies of configs/biopsy.toml is classified in
5 folds x 2 repeats by the models of configs/biopsy.toml. Seeds above 200 are for checking a choice, never for making one.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from features import CONFIG, EMBEDDED, embedded
from reference import write_reference

from aggregate.commands import application
from extract.phantom.commands import PhantomConfig
from extract.phantom.histology import write_histology
from pipeline.config import load_config
from pipeline.tables import read_table

BIOPSY = CONFIG.with_name("biopsy.toml")
RATES = ("sensitivity", "specificity", "auc", "macro_auc")


def rows_of(seed, work):
    """Return the rows of fusion.csv of a seed."""
    bags, cohort = embedded(seed, EMBEDDED, work)
    drawn = load_config(BIOPSY, PhantomConfig).phantom.histology
    write_histology(drawn, cohort, seed=seed)
    place = work / str(seed) / "fusion"
    place.mkdir(exist_ok=True)
    text = BIOPSY.read_text(encoding="utf-8").replace("lesion@features.3", "lesion")
    for theirs, ours in (
        ("../results/biopsy/cohort", cohort.parent),
        ("../results/biopsy/bags", bags),
        ("../results/biopsy", place),
    ):
        text = text.replace(theirs, str(ours))
    config = place / "biopsy.toml"
    config.write_text(text, encoding="utf-8")
    overrides = [
        f"aggregate.seed={seed}",
        "splits.folds=5",
        "splits.repeats=2",
        "explain=false",
        "baselines=false",
    ]
    application(["run", str(config), *overrides, "statistics.draws=200"], standalone_mode=False)
    return read_table(place / "tables" / "fusion.csv")


def means(found):
    """Yield one row per way and group: the mean of each rate over the seeds, and the standard error of its difference to imaging alone."""
    first = next(iter(found.values()))
    for way, group in dict.fromkeys((row["way"], row["patients"]) for row in first):
        own, imaging = (rates_of(found, name, group) for name in (way, "imaging alone"))
        row = {"way": way, "patients": group, "seeds": "+".join(map(str, found))}
        for rate, values, of_imaging in zip(RATES, own.T, imaging.T, strict=True):
            row[rate] = float(values.mean())
            change = values - of_imaging
            row[f"{rate}_minus_imaging"] = float(change.mean())
            row[f"{rate}_se"] = float(change.std(ddof=1) / np.sqrt(len(change))) if len(change) > 1 else 0.0
        yield row


def rates_of(found, way, group):
    return np.array(
        [
            [float(row[rate]) for rate in RATES]
            for rows in found.values()
            for row in rows
            if (row["way"], row["patients"]) == (way, group)
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5, 6, 7, 8])
    parser.add_argument("--work", type=Path, help="keep cohorts and bags there, or take those that are there")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        found = {seed: rows_of(seed, work) for seed in arguments.seeds}
    rows = list(means(found))
    for row in rows:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    if arguments.output is not None:
        write_reference(arguments.output, rows)


if __name__ == "__main__":
    sys.exit(main())
