"""How much of the diagnosis the bags hold: macro AUC of models on image features, on measures and on both.

    python benchmarks/features.py --seeds 1 2 3 4 5 --work /some/folder

For each seed a phantom cohort like configs/study.toml (120 patients) is drawn, embedded by each recipe from one slice store,
and classified in 5 folds x 2 repeats. Models of measures stand with the first recipe only: no encoder changes them. Beside the models stand the oracle that reads the drawn signs, and the means over the
seeds. Seeds above 200 are for checking a choice, never for making one.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from reference import write_reference
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from aggregate.cohort.patients import Patients
from aggregate.models.registry import build_model
from aggregate.planning.splits import repeated_folds
from extract.commands import application
from extract.phantom.ceiling import areas, prior_of, read_signs, read_truth
from extract.phantom.cohort import TRUTH
from extract.phantom.commands import PhantomConfig
from pipeline.config import load_config

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "study.toml"
LIVER = [
    'input.reference="liver"',
    'regions=["whole", "lesion", "rim"]',
    "input.scales_mm={tight=70.0}",
    "input.size_px=112",
]
LITE0 = ['encoder="efficientnet_lite0"', 'weights="installed"', 'precision="float32"']
BEFORE = "whole crop, absolute HU (before)"
RECIPES = {
    "embedded, features.3": [*LIVER, 'layers=["features.3"]'],
    "lite0, features.2": [*LIVER, *LITE0, 'layers=["features.2"]'],
    "untrained, features.3": [*LIVER, 'weights="random:0"', 'layers=["features.3"]'],
    "embedded, penultimate": [*LIVER, 'layers=["penultimate"]'],
    "lite0, features.4": [*LIVER, *LITE0, 'layers=["features.4"]'],
    "lite0, penultimate": [*LIVER, *LITE0, 'layers=["penultimate"]'],
    BEFORE: [
        'layers=["penultimate"]',
        'input.reference="absolute"',
        'regions=["whole"]',
        "input.scales_mm={tight=70.0}",
        "input.size_px=112",
    ],
}
"""Name -> overrides of [extract]. The first is that of demo and study."""
REPEATS = 2
IMAGE = "ensemble of phase_concat"
MEASURES_LINEAR, MEASURES_TREES = "measures: ensemble of phase_pooling", "measures: ensemble of xgboost"
MEASURES_AND_FACTS = "measures, age, sex: ensemble of phase_pooling"
TREES_AND_FACTS = "measures, age, sex: ensemble of xgboost of depth 2"
LINEAR = "phase_pooling"

AVERAGES = {
    "measures: average of both": {MEASURES_LINEAR: 1, MEASURES_TREES: 1},
    "image and measures, equal weights": {IMAGE: 1, MEASURES_LINEAR: 1, MEASURES_TREES: 1},
    "measures, age, sex: average of both": {MEASURES_AND_FACTS: 1, TREES_AND_FACTS: 1},
    "fused: image (a third), measures, age, sex": {IMAGE: 1 / 3, MEASURES_AND_FACTS: 1, TREES_AND_FACTS: 1},
    "fused: image, measures, age, sex": {IMAGE: 1, MEASURES_AND_FACTS: 1, TREES_AND_FACTS: 1},
}
"""Name -> models and the weights of their probabilities, as the kind `average` has them of models that it trains itself."""

EMBEDDED, IMAGENET = list(RECIPES)[:2]
ACROSS = {
    "image, both encoders": {(EMBEDDED, IMAGE): 1, (IMAGENET, IMAGE): 1},
    "fused, both encoders": {
        (EMBEDDED, IMAGE): 1 / 2,
        (IMAGENET, IMAGE): 1 / 2,
        (EMBEDDED, MEASURES_AND_FACTS): 1,
        (EMBEDDED, TREES_AND_FACTS): 1,
    },
}
"""The same over two sets of bags: name -> recipe and model, and their weights."""


def models_of(recipe):
    """Return the models by name: kind and parameters; of recipes but the first the two that compare encoders."""
    blocks = ["whole"] if recipe == BEFORE else ["lesion"]
    image = {"features": blocks}
    concat = {"model": "phase_concat", "parameters": image}
    measures = {"features": ["measures"]}
    wide = {**measures, "strengths": [1e-3, 1e-2, 1e-1, 1.0, 10.0]}
    trees = {"model": "xgboost", "parameters": measures}
    trees_and_facts = {
        "model": "xgboost",
        "parameters": {**measures, "max_depth": 2, "covariates": ["age", "sex"]},
    }
    linear = {"model": "phase_pooling", "parameters": wide}
    facts = {"model": "phase_pooling", "parameters": {**wide, "covariates": ["age", "sex"]}}
    inside = {"image": ("ensemble", concat), "linear": ("ensemble", linear), "trees": ("ensemble", trees)}
    stack = {name: {"kind": kind, **parameters} for name, (kind, parameters) in inside.items()}
    of_image = {IMAGE: ("ensemble", concat), LINEAR: ("phase_pooling", image)}
    if recipe != EMBEDDED:
        return of_image
    both = {"model": "phase_concat", "parameters": {"features": ["lesion", "rim"]}}
    return {
        **of_image,
        "phase_concat": ("phase_concat", image),
        "attention_mil": ("attention_mil", image),
        "mean_pooling": ("mean_pooling", image),
        "phase_attention": ("phase_attention", image),
        "lesion and rim: " + IMAGE: ("ensemble", both),
        MEASURES_LINEAR: ("ensemble", linear),
        MEASURES_TREES: ("ensemble", trees),
        MEASURES_AND_FACTS: ("ensemble", facts),
        TREES_AND_FACTS: ("ensemble", trees_and_facts),
        "fused: stack": ("stack", {"models": stack}),
    }


def written(seed, work):
    """Write the cohort of a seed, and return its configuration."""
    folder = work / str(seed)
    config = folder / "study.toml"
    if not config.exists():
        folder.mkdir(parents=True)
        text = CONFIG.read_text(encoding="utf-8").replace("../results/study", str(folder))
        config.write_text(text.replace("seed = 120", f"seed = {seed}"), encoding="utf-8")
        command("phantom", config)
    return config


def command(word, config, *overrides):
    try:
        application([word, str(config), *overrides], standalone_mode=False)
    except SystemExit as ended:
        if ended.code not in (0, None, 2):  # 2: somebody was left out, with a row
            raise


def embedded(seed, recipe, work):
    """Return the folder of the bags of a recipe, from the slice store that all recipes share, and the cohort table."""
    config = written(seed, work)
    place = config.with_name("".join(c if c.isalnum() else "_" for c in recipe))
    given = [f"extract.{override}" for override in RECIPES[recipe]]
    command("run", config, f"output={place}", f"slice_store={config.with_name('slices.zarr')}", *given)
    return place / "bags", config.parent / "cohort" / "cohort.csv"


def fitted(patients, fold, kind, parameters, random_state):
    """Return the class probabilities of the test patients of a fold."""
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train, tune = patients.take(fold.train), patients.take(fold.tune)
        model = build_model(kind, parameters, random_state=random_state)
        model.fit(train, train.codes, tune=(tune, tune.codes))
        return model.predict_proba(patients.take(fold.test))


def tables_of(patients, folds, models, seed, jobs):
    """Return the out-of-fold probabilities of each model (repeats, patients, classes)."""
    numbered = [(name, number) for name in models for number in range(len(folds))]
    work = (delayed(fitted)(patients, folds[i], *models[name], 1000 * seed + i) for name, i in numbered)
    tables = {name: np.zeros((REPEATS, len(patients), len(patients.classes))) for name in models}
    for (name, i), found in zip(numbered, Parallel(n_jobs=jobs)(work), strict=True):
        tables[name][folds[i].repeat, folds[i].test] = found
    return tables


def aucs(patients, table):
    """Return the macro AUC out of fold, mean of the repeats, and that of the combined class."""
    per_class = [
        [roc_auc_score(patients.codes == k, p[:, k]) for k in range(len(patients.classes))] for p in table
    ]
    means = np.mean(per_class, axis=0)
    return {
        "macro_auc": float(means.mean()),
        "auc_chcc_cca": float(means[patients.classes.index("cHCC-CCA")]),
    }


def tables_of_recipe(seed, recipe, work, chosen, *, jobs):
    """Return the patients and the tables of a recipe, with the averages of which every part was asked for."""
    bags, cohort = embedded(seed, recipe, work)
    patients = Patients.read(bags, cohort=cohort)
    folds = repeated_folds(patients, folds=5, repeats=REPEATS, tune_share=0.2, seed=seed)
    asked = {name: of for name, of in models_of(recipe).items() if not chosen or name in chosen}
    tables = tables_of(patients, folds, asked, seed, jobs)
    return patients, tables | averages_of(tables, AVERAGES)


def averages_of(tables, wanted):
    """Return the weighted averages of which every part is there."""
    return {
        name: np.average([tables[part] for part in parts], axis=0, weights=list(parts.values()))
        for name, parts in wanted.items()
        if all(part in tables for part in parts)
    }


def rows_of(seed, work, recipes, chosen, *, jobs):
    """Yield the rows of a seed: the oracle, each recipe's models, and the averages over both encoders."""
    yield oracle_row(seed, work)
    every = {}
    for recipe in recipes:
        patients, tables = tables_of_recipe(seed, recipe, work, chosen, jobs=jobs)
        every |= {(recipe, name): table for name, table in tables.items()}
        yield from (named_row(seed, recipe, name, patients, table) for name, table in tables.items())
    across = averages_of(every, ACROSS)
    yield from (named_row(seed, "both", name, patients, table) for name, table in across.items())


def named_row(seed, recipe, name, patients, table):
    return {"recipe": recipe, "model": name, "seed": seed, **aucs(patients, table)}


def oracle_row(seed, work):
    config = written(seed, work)
    reading = read_truth(config.parent / "cohort" / TRUTH)
    phantom = load_config(config, PhantomConfig).phantom
    told = areas(reading.label, read_signs(reading, prior_of(phantom)))
    names = {"recipe": "drawn signs", "model": "oracle", "seed": seed}
    return {**names, "macro_auc": told["macro"], "auc_chcc_cca": told["cHCC-CCA"]}


def means(rows):
    """Yield one row per recipe and model: mean and standard deviation over the seeds."""
    for recipe, name in dict.fromkeys((row["recipe"], row["model"]) for row in rows):
        own = [row for row in rows if (row["recipe"], row["model"]) == (recipe, name)]
        macro, combined = ([row[key] for row in own] for key in ("macro_auc", "auc_chcc_cca"))
        yield {
            "recipe": recipe, "model": name, "macro_auc": float(np.mean(macro)),
            "sd_over_seeds": float(np.std(macro, ddof=1)) if len(macro) > 1 else 0.0,
            "auc_chcc_cca": float(np.mean(combined)), "seeds": "+".join(str(row["seed"]) for row in own),
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep cohorts and bags there, or take those that are there")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        for seed in arguments.seeds:
            for row in rows_of(seed, work, arguments.recipes, arguments.models, jobs=arguments.jobs):
                rows.append(row)
                print(row, flush=True)
    found = list(means(rows))
    for row in found:
        print(f"{row['recipe']:34}{row['model']:38}{row['macro_auc']:.3f} +- {row['sd_over_seeds']:.3f}"
              f"   cHCC-CCA {row['auc_chcc_cca']:.3f}")  # fmt: skip
    if arguments.output is not None:
        write_reference(arguments.output, found)


if __name__ == "__main__":
    sys.exit(main())
