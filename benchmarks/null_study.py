"""The study command on labels that say nothing: how often does it find something, and what does the honest estimate say?

    python benchmarks/null_study.py configs/study_architectures.toml --permutations 10

The bags of the configuration must be there (`extract.py phantom`, `extract.py run`). For each permutation the labels of the
cohort table are shuffled among the patients, and `aggregate.py study` trains a small grid on them: two encoders, the whole crop
and the lesion, with and without measures, three aggregators without a network, 5 folds x 2 repeats. One row per permutation, and one of
their means. The family of the best configurations is chosen on the patients that it is compared on, so more of its single tests
than the level says lie below it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from reference import write_reference

from aggregate.commands import application
from aggregate.config import AggregateConfig
from pipeline.config import load_config
from pipeline.tables import TABLES, read_table, write_table

LEVEL = 0.05
GRID = """
[aggregate.study]
measures = [false, true]
[aggregate.study.bags]
{bags}
[aggregate.study.features]
whole = ["whole"]
lesion = ["lesion"]
[aggregate.study.aggregators.mean_pooling]
kind = "mean_pooling"
[aggregate.study.aggregators.phase_pooling]
kind = "phase_pooling"
[aggregate.study.aggregators.xgboost]
kind = "xgboost"
"""


def shuffled_table(table, target, seed):
    """Write the cohort table with the labels shuffled among the patients; a patient's rows keep one label."""
    rows = read_table(table)
    label_of = {row["patient_id"]: row["label"] for row in rows}
    drawn = np.random.default_rng(seed).permutation(list(label_of.values()))
    given = dict(zip(label_of, drawn, strict=True))
    write_table(target, tuple(rows[0]), [{**row, "label": given[row["patient_id"]]} for row in rows])


def configuration(config, folder, sets):
    """Return the text of a study on the shuffled table over some sets of the bags that are there."""
    levels = "\n".join(f'{name} = {{ encoder = "{name}" }}' for name in sets)
    places = "\n".join(f'[aggregate.bags.{name}]\nfolder = "{config.bag_folders[name]}"' for name in sets)
    cohort = config.cohort
    return f"""name = "null_study"
output = "{folder / "results"}"
[cohort]
table = "{folder / "cohort.csv"}"
phases = {list(cohort.phases)}
classes = {list(cohort.classes)}
[aggregate]
explain = false
[aggregate.splits]
folds = 5
repeats = 2
{places}
{GRID.format(bags=levels)}""".replace("'", '"')


def study_on_shuffled_labels(config, seed, sets):
    """Run one study and return what it found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shuffled_table(config.cohort.table, folder / "cohort.csv", seed)
        (folder / "study.toml").write_text(configuration(config, folder, sets), encoding="utf-8")
        application(["study", str(folder / "study.toml")], standalone_mode=False)
        return found_by(folder / "results")


def found_by(results):
    """Return the estimates of the ways to choose, and by table how many p-values lie below the level, before and after adjustment."""
    folder = results / TABLES
    found = {row["what"]: float(row["estimate"]) for row in read_table(folder / "selection.csv")}
    compared = read_table(folder / "study_comparisons.csv")
    tables = {name: read_table(folder / f"{name}.csv") for name in ("factors", "factor_effects")}
    tables |= {
        f: [row for row in compared if row["family"] == f]
        for f in sorted({row["family"] for row in compared})
    }
    for name, rows in tables.items():
        single, adjusted = ([p_value(row[key]) for row in rows] for key in ("p_value", "p_adjusted"))
        found[f"{name}: tests"] = sum(p is not None for p in single)
        found[f"{name}: below {LEVEL}"] = sum(p is not None and p < LEVEL for p in single)
        found[f"{name}: adjusted below {LEVEL}"] = sum(p is not None and p < LEVEL for p in adjusted)
    return found


def p_value(text):
    """Return a p-value of a table, 0 for one below what is printed, None where it is not estimable."""
    if text.startswith("<"):
        return 0.0
    try:
        return float(text)
    except ValueError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--permutations", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=["embedded", "imagenet"])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    config = load_config(arguments.config, AggregateConfig)
    rows = []
    for seed in range(arguments.permutations):
        rows.append({"permutation": seed, **study_on_shuffled_labels(config, seed, arguments.sets)})
        print(rows[-1], flush=True)
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "permutation"}
    print({"permutation": "mean", **mean})
    if arguments.output is not None:
        write_reference(arguments.output, [*rows, {"permutation": "mean", **mean}])


if __name__ == "__main__":
    sys.exit(main())
