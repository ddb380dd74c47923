"""Aggregators on planted signals that lie in a difference between two phases, as washout does.

    python benchmarks/phase_models.py [--seeds 1 2 3 4 5] [--tasks every few] [--models NAME ...] [--jobs 2]
        [--output results/reference/phase_models.csv]

A cohort has 120 patients of three classes, four phases (missing as often as in configs/study.toml), about 25 slices in
each, and 512 features: 24 latent numbers, mixed by a random matrix, and white noise. A class shows in the delayed less the
arterial phase only, in two latent numbers; in either phase alone it is drowned in what differs between patients. In the
task `every` all slices show it; in `few` a quarter of them, which a third latent number marks. The oracle knows the mixing,
the slices that show it, all means and covariances. Printed: macro AUC of the out-of-fold probabilities (5 folds, 20 % of
the other patients to tune on), mean and standard deviation over the cohorts, and the seconds of a fit. Never run it on
seeds above 200: they are kept for checks.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from reference import write_reference
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from aggregate.cohort.chosen import Chosen
from aggregate.models.registry import build_model
from aggregate.splits import Roster, repeated_folds
from pipeline.bags import Bag, BagHeader, Recipe, Source

N_PATIENTS, N_CLASSES, D, LATENT = 120, 3, 512, 24
PHASES, MISSING = ("NC", "AP", "PVP", "DP"), (0.25, 0.04, 0.03, 0.12)
ARTERIAL, DELAYED = 1, 3
BETWEEN_PATIENTS, BETWEEN_PHASES, BETWEEN_SLICES, WHITE = 1.5, 0.6, 1.0, 1.0
"""Standard deviations of a latent number: of a patient, of a phase of one, of a slice of that; and of the white noise."""
SHIFT = {"every": 1.2, "few": 1.8}
"""Distance of a class's mean from the centre."""
MARK, SHARE, DISTRACTION = 4.0, 0.5, 1.5
RECIPE = Recipe("drawn", "none", "random:0", "0" * 64, "float32", {})
ATTENTION = {"pool": "attention", "differences": True, "rank": 16, "learning_rate": 3e-4, "dropout": 0.5}
MODELS = {
    "phase_concat": ("phase_concat", ATTENTION),
    "phase_pooling": ("phase_pooling", {"differences": True}),
    "phase_pooling, no differences": ("phase_pooling", {"differences": False}),
    "mean_pooling": ("mean_pooling", {}),
    "phase_concat, mean": ("phase_concat", {**ATTENTION, "pool": "mean"}),
    "phase_concat, no differences": ("phase_concat", {**ATTENTION, "differences": False}),
    "phase_attention": ("phase_attention", {}),
    "attention_mil": ("attention_mil", {}),
    "phase_concat, rank 8, rate 1e-3": ("phase_concat", {**ATTENTION, "rank": 8, "learning_rate": 1e-3}),
    "phase_concat, no projection, rate 1e-4": (
        "phase_concat",
        {**ATTENTION, "rank": 0, "learning_rate": 1e-4},
    ),
    "phase_concat, no dropout": ("phase_concat", {**ATTENTION, "dropout": 0.0}),
    "ensemble of phase_pooling": ("ensemble", {"model": "phase_pooling"}),
    "ensemble of phase_concat": ("ensemble", {"model": "phase_concat", "parameters": ATTENTION}),
}
"""Name -> kind and parameters; of phase_concat all that was compared, so that a change of its defaults changes no row."""


def class_means(task):
    """Return the mean of each class in the two latent numbers (classes, 2), a triangle around 0."""
    angles = 2 * np.pi * np.arange(N_CLASSES) / N_CLASSES
    return SHIFT[task] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def draw_cohort(task, seed):
    """Return bags, labels and the oracle's probabilities."""
    assert seed <= 200, "seeds above 200 are kept for checks"
    rng = np.random.default_rng([seed, 0xFA5E])
    labels = np.arange(N_PATIENTS) % N_CLASSES
    mixing = rng.normal(size=(LATENT, D)) / np.sqrt(LATENT)
    drawn = [draw_patient(f"p{i:03}", class_means(task)[y], task, mixing, rng) for i, y in enumerate(labels)]
    told = np.stack([oracle(*seen, task) for _, seen in drawn])
    return [bag for bag, _ in drawn], labels, told


def draw_patient(patient_id, shift, task, mixing, rng):
    present = [p for p in range(4) if rng.random() > MISSING[p]] or [ARTERIAL]
    sizes = rng.integers(15, 36, size=len(present))
    phase = np.repeat(present, sizes).astype(np.int8)
    latent = rng.normal(0, BETWEEN_PATIENTS, LATENT) + rng.normal(0, BETWEEN_SLICES, (len(phase), LATENT))
    latent += rng.normal(0, BETWEEN_PHASES, (4, LATENT))[phase]
    shows = rng.random(len(phase)) < SHARE if task == "few" else np.ones(len(phase), bool)
    if task == "few":
        latent[~shows, :2] += rng.normal(0, DISTRACTION, (4, 2))[phase[~shows]]
        latent[:, 2] = rng.normal(size=len(phase)) + MARK * shows
    half = (phase == DELAYED).astype(float) / 2 - (phase == ARTERIAL) / 2
    latent[:, :2] += (half * shows)[:, None] * shift
    features = latent @ mixing + rng.normal(0, WHITE, (len(phase), D))
    seen = [(p, latent[(phase == p) & shows, :2]) for p in present if ((phase == p) & shows).any()]
    index = np.concatenate([np.arange(n) for n in sizes]).astype(np.int32)
    sources = {PHASES[p]: Source("f", f"{patient_id}{p}", "m", "drawn", (1.0, 1.0, 5.0), 40) for p in present}
    missing = {name: "no scan" for name in PHASES if name not in sources}
    header = BagHeader(patient_id, PHASES, missing, ("tight",), RECIPE, sources, patient_id, 1e5, 224)
    bag = Bag(
        header=header, features=features.astype(np.float32), phase=phase, slice_index=index,
        z_mm=index.astype(np.float32), tumour_area_mm2=np.ones(len(phase), np.float32),
        lesion=np.ones(len(phase), np.int16), scale=np.zeros(len(phase), np.int8),
    )  # fmt: skip
    return bag, tuple(zip(*seen, strict=True)) or ((), ())


def oracle(phases, latents, task):
    """Return the posterior of the classes given the two latent numbers of all slices that show them."""
    if not phases:
        return np.full(N_CLASSES, 1 / N_CLASSES)
    half = np.array([(p == DELAYED) / 2 - (p == ARTERIAL) / 2 for p in phases])
    spread = [BETWEEN_PHASES**2 + BETWEEN_SLICES**2 / len(rows) for rows in latents]
    covariance = BETWEEN_PATIENTS**2 + np.diag(spread)
    means = np.stack([rows.mean(axis=0) for rows in latents])  # (phases, 2)
    logs = np.array([
        sum(multivariate_normal(half * m, covariance).logpdf(x) for m, x in zip(mean, means.T, strict=True))
        for mean in class_means(task)
    ])  # fmt: skip
    powers = np.exp(logs - logs.max())
    return powers / powers.sum()


def folds_of(labels, seed):
    names = tuple(f"p{i:03}" for i in range(len(labels)))
    roster = Roster(names, labels, ("HCC", "iCCA", "cHCC-CCA"), np.zeros(len(labels), np.intp), ("one",))
    return repeated_folds(roster, folds=5, repeats=1, tune_share=0.2, seed=seed)


def out_of_fold(bags, labels, kind, parameters, seed):
    """Return the macro AUC of the out-of-fold probabilities, and the seconds of a fit."""
    table, started = np.zeros((len(labels), N_CLASSES)), time.perf_counter()
    for number, fold in enumerate(folds_of(labels, seed)):
        model = build_model(kind, parameters, random_state=1000 * seed + number)
        tune = (Chosen(bags, fold.tune), labels[fold.tune])
        model.fit(Chosen(bags, fold.train), labels[fold.train], tune=tune)
        table[fold.test] = model.predict_proba(Chosen(bags, fold.test))
    seconds = (time.perf_counter() - started) / 5
    return roc_auc_score(labels, table / table.sum(axis=1, keepdims=True), multi_class="ovr"), seconds


def one_cohort(task, seed, models):
    """Return (task, model, AUC, seconds) of each model on one cohort."""
    bags, labels, told = draw_cohort(task, seed)
    rows = [(task, "oracle", roc_auc_score(labels, told, multi_class="ovr"), 0.0)]
    with threadpool_limits(limits=1):
        for name in models:
            rows.append((task, name, *out_of_fold(bags, labels, *models[name], seed)))
            print(f"{task} {seed} {name} {rows[-1][2]:.3f}", file=sys.stderr, flush=True)
    return rows


def summary(found):
    """Yield one row per task and model, the best first."""
    for task in dict.fromkeys(row[0] for row in found):
        names = {row[1] for row in found if row[0] == task}
        aucs = {name: [row[2] for row in found if row[:2] == (task, name)] for name in names}
        for name in sorted(names, key=lambda name: -np.mean(aucs[name])):
            seconds = np.mean([row[3] for row in found if row[:2] == (task, name)])
            sd = np.std(aucs[name], ddof=1) if len(aucs[name]) > 1 else 0.0
            yield {
                "task": task, "model": name, "macro_auc": float(np.mean(aucs[name])), "sd_over_cohorts": float(sd),
                "cohorts": len(aucs[name]), "seconds_per_fit": float(seconds),
            }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--tasks", nargs="+", default=list(SHIFT))
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    models = {name: MODELS[name] for name in arguments.models}
    work = [(task, seed) for task in arguments.tasks for seed in arguments.seeds]
    done = Parallel(n_jobs=arguments.jobs)(delayed(one_cohort)(*place, models) for place in work)
    rows = list(summary([row for rows in done for row in rows]))
    for row in rows:
        print(
            f"{row['task']:6} {row['model']:44} {row['macro_auc']:.3f} +- {row['sd_over_cohorts']:.3f}"
            f"   {row['seconds_per_fit']:.1f} s"
        )
    if arguments.output is not None:
        write_reference(arguments.output, rows)


if __name__ == "__main__":
    main()
