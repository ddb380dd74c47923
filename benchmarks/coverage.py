"""How often do the 95 % confidence intervals of the tables hold the truth?

usage: python benchmarks/coverage.py [--settings scores folds differences] [--simulations 1000] [--draws 1000]
                                     [--jobs 2] [--output FILE]

Three settings, each with 120 patients of three classes, in equal shares or 60/45/15:

scores       The probabilities come from a known distribution, five noisy repeats per patient; the truth is the
             value of the metric in the population. This is what an interval over patients claims to cover.
folds        The probabilities come from 5 x 5 cross-validated linear discriminants that are trained anew in
             every simulation; the truth is the mean of the 25 fitted models on 2,000 new patients.
differences  Two models of equal quality; the truth of their difference is 0. One minus the coverage is how often
             a test calls a difference that is none.

Every interval is made by the code that makes the tables; "percentile" rows stand beside them for comparison.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from aggregate.statistics.comparisons import Difference, corrected_t, delong, paired_bootstrap
from aggregate.statistics.measures import MACRO, Measurement, class_auc, macro_auc, measure
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.performance import estimate_of, group_sizes
from pipeline.tables import write_table

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
SHARES = {"40/40/40": (40, 40, 40), "60/45/15": (60, 45, 15)}
SIGNALS = {"moderate": 1.0, "strong": 2.0}
REPEATS = 5
FEATURES = 20
COLUMNS = (
    "setting", "classes", "signal", "class", "metric", "truth", "interval", "coverage", "standard_error",
    "truth_above", "truth_below", "mean_length", "simulations",
)  # fmt: skip
OURS, PERCENTILE = "as in the tables", "percentile"

Held = dict[tuple[str, str, str], tuple[float, float, float]]
"""(class, metric, interval) -> (low, high, truth)."""


def main() -> None:
    """Run every setting and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=1000, help="of scores; the others get a quarter")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/reference/coverage.csv"))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options = parser.parse_args()
    rows = []
    for setting, (classes, sizes), (signal, separation) in product(
        options.settings, SHARES.items(), SIGNALS.items()
    ):
        truth = population(sizes, separation) if setting == "scores" else {}
        seeds = range(options.simulations if setting == "scores" else options.simulations // 4)
        found = Parallel(n_jobs=options.jobs)(
            delayed(one)(
                SETTINGS[setting],
                np.random.default_rng([seed, *sizes]),
                sizes,
                separation,
                options.draws,
                truth=truth,
            )
            for seed in seeds
        )
        head = {"setting": setting, "classes": classes, "signal": signal}
        rows += [{**head, **row} for row in summary(found)]
        print(setting, classes, signal, "done", flush=True)
        write_table(options.output, COLUMNS, rows)
    print(report(rows))


def one(simulate, rng, sizes: Sequence[int], separation: float, draws: int, *, truth: Mapping) -> Held:
    """Run one simulation on one thread."""
    with threadpool_limits(limits=1):
        return simulate(rng, sizes, separation, draws, truth)


def summary(found: Sequence[Held]) -> Iterator[dict]:
    """Count how often each interval held its truth."""
    pooled = defaultdict(list)
    for held in found:
        for key, values in held.items():
            pooled[key].append(values)
    for (name, metric, interval), values in pooled.items():
        low, high, truth = np.array(values).T
        coverage = float(np.mean((low <= truth) & (truth <= high)))
        yield {
            "class": name,
            "metric": metric,
            "truth": float(truth.mean()),
            "interval": interval,
            "coverage": coverage,
            "standard_error": float(np.sqrt(coverage * (1 - coverage) / len(values))),
            "truth_above": float(np.mean(truth > high)),
            "truth_below": float(np.mean(truth < low)),
            "mean_length": float(np.mean(high - low)),
            "simulations": len(values),
        }


def report(rows: Sequence[Mapping]) -> str:
    """Say in words how the intervals of the tables fare."""
    ours = [row for row in rows if row["interval"] != PERCENTILE]
    shown = [
        row
        for row in ours
        if (row["class"], row["metric"]) == (MACRO, "auc") or row["metric"] == "sensitivity"
    ]
    lines = ["coverage of the intervals in the tables, macro AUC and sensitivities:"]
    lines += [
        f"  {r['setting']:12} {r['classes']} {r['signal']:9} {r['class']:9} {r['metric']:12} {r['interval']:27} "
        f"{100 * r['coverage']:.1f} % +- {100 * r['standard_error']:.1f}"
        for r in shown
    ]
    within = np.mean([0.93 <= row["coverage"] <= 0.97 for row in ours])
    return "\n".join([*lines, f"{100 * within:.0f} % of the {len(ours)} rows lie between 93 and 97 %"])


def of_scores(rng, sizes: Sequence[int], separation: float, draws: int, truth: Mapping) -> Held:
    """Intervals on patients drawn from a known distribution of scores."""
    labels, probabilities = drawn_scores(rng, sizes, separation, REPEATS)
    return intervals(labels, probabilities, draws, truth, rng)


def population(sizes: Sequence[int], separation: float) -> Mapping[tuple[str, str], float]:
    """Every metric in the population: the mean of 40 cohorts 25 times as large."""
    rng = np.random.default_rng(20261123)
    found = defaultdict(list)
    for _ in range(40):
        labels, probabilities = drawn_scores(rng, [25 * size for size in sizes], separation, 1)
        for row, values in measure(labels, probabilities, np.ones((len(labels), 1)), CLASSES).items():
            found[row].append(values.resampled[0])
    return {row: float(np.mean(values)) for row, values in found.items()}


def drawn_scores(rng, sizes: Sequence[int], separation: float, repeats: int):
    """Logits that are normal about the class of the patient, with noise of their own in every repeat."""
    labels = np.repeat(np.arange(3), sizes)
    logits = rng.normal(size=(len(labels), 3)) + separation * np.eye(3)[labels]
    return labels, softmax(logits + 0.5 * rng.normal(size=(repeats, len(labels), 3)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities."""
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    return exponentials / exponentials.sum(axis=2, keepdims=True)


def of_folds(rng, sizes: Sequence[int], separation: float, draws: int, _: Mapping) -> Held:
    """Intervals on the out-of-fold predictions of models that were trained in folds."""
    labels, features = drawn_features(rng, sizes, separation)
    new_labels, new_features = drawn_features(rng, [2000 * size // 120 for size in sizes], separation)
    fold = drawn_folds(rng, labels)
    probabilities, models = cross_validated(labels, features, fold)
    truth = performance_on(new_labels, np.stack([model.predict_proba(new_features) for model in models]))
    return intervals(labels, probabilities, draws, truth, rng)


def drawn_features(rng, sizes: Sequence[int], separation: float):
    """Features of which three speak for a class each and the others for none."""
    labels = np.repeat(np.arange(3), sizes)
    features = rng.normal(size=(len(labels), FEATURES))
    features[:, :3] += separation * np.eye(3)[labels]
    return labels, features


def drawn_folds(rng, labels: np.ndarray) -> np.ndarray:
    """The fold of each patient in 5 x 5 stratified folds: (repeats, n)."""
    fold = np.zeros((REPEATS, len(labels)), dtype=np.intp)
    for of_repeat in fold:
        splitter = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(1 << 31)))
        for number, (_, test) in enumerate(splitter.split(labels, labels)):
            of_repeat[test] = number
    return fold


def cross_validated(labels: np.ndarray, features: np.ndarray, fold: np.ndarray):
    """Out-of-fold probabilities (repeats, n, 3) and the fitted models."""
    probabilities = np.zeros((*fold.shape, 3))
    models = []
    for repeat, number in np.ndindex(REPEATS, 5):
        test = fold[repeat] == number
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(features[~test], labels[~test])
        probabilities[repeat, test] = model.predict_proba(features[test])
        models.append(model)
    return probabilities, models


def performance_on(labels: np.ndarray, probabilities: np.ndarray) -> Mapping[tuple[str, str], float]:
    """AUC and sensitivity of each class and their means, averaged over the models (models, n, 3)."""
    called = probabilities.argmax(axis=2)
    found = {}
    for k, name in enumerate(CLASSES):
        positive = labels == k
        ranks = rankdata(probabilities[:, :, k], axis=1)[:, positive].mean(axis=1)
        found[name, "auc"] = float(np.mean((ranks - (positive.sum() + 1) / 2) / (~positive).sum()))
        found[name, "sensitivity"] = float(np.mean(called[:, positive] == k))
    found[MACRO, "auc"] = float(np.mean([found[name, "auc"] for name in CLASSES]))
    found[MACRO, "balanced_accuracy"] = float(np.mean([found[name, "sensitivity"] for name in CLASSES]))
    return found


def intervals(labels, probabilities, draws: int, truth: Mapping, rng) -> Held:
    """Both kinds of intervals of every metric whose truth is known."""
    weights = draw_resamples(labels, draws=draws, seed=int(rng.integers(1 << 31)))
    held: Held = {}
    for (name, metric), found in measure(labels, probabilities, weights, CLASSES).items():
        if (name, metric) in truth:
            ours = estimate_of(found, metric, group_sizes(labels, CLASSES, name), 0.95)
            if ours.low is not None and ours.high is not None:
                held[name, metric, OURS] = ours.low, ours.high, truth[name, metric]
            held[name, metric, PERCENTILE] = *percentiles(found), truth[name, metric]
    return held


def percentiles(found: Measurement) -> tuple[float, float]:
    """The interval that most papers print: the middle 95 % of the resamples."""
    low, high = np.nanquantile(found.resampled[1:], [0.025, 0.975])
    return float(low), float(high)


def of_differences(rng, sizes: Sequence[int], separation: float, draws: int, _: Mapping) -> Held:
    """Two models of equal quality: the logits of each are what the other's could have been."""
    labels = np.repeat(np.arange(3), sizes)
    shared = rng.normal(size=(len(labels), 3)) * np.sqrt(0.5) + separation * np.eye(3)[labels]
    own = shared + np.sqrt(0.5) * rng.normal(size=(2, len(labels), 3))
    a, b = (softmax(o + 0.5 * rng.normal(size=(REPEATS, len(labels), 3))) for o in own)
    weights = draw_resamples(labels, draws=draws, seed=int(rng.integers(1 << 31)))
    macro = [macro_auc(labels, p, weights).resampled for p in (a, b)]
    rare = [class_auc(labels, p, weights, 2).resampled for p in (a, b)]
    found = {
        (MACRO, "auc", "paired patient bootstrap"): paired_bootstrap(*macro, smallest_n=min(sizes)),
        (CLASSES[2], "auc", "paired patient bootstrap"): paired_bootstrap(*rare, smallest_n=min(sizes)),
        (CLASSES[2], "auc", "DeLong"): delong(a[:, :, 2], b[:, :, 2], labels == 2),
        (MACRO, "auc", "Nadeau-Bengio corrected t"): trained_difference(rng, sizes, separation),
    }
    return {key: (d.low, d.high, 0.0) for key, d in found.items() if d.low is not None and d.high is not None}


def trained_difference(rng, sizes: Sequence[int], separation: float) -> Difference:
    """The corrected t over the folds of two models that see different but equally good features."""
    labels, first = drawn_features(rng, sizes, separation)
    _, second = drawn_features(rng, sizes, separation)
    fold = drawn_folds(rng, labels)
    a, b = (cross_validated(labels, features, fold)[0] for features in (first, second))
    differences = []
    for repeat, number in np.ndindex(REPEATS, 5):
        test = fold[repeat] == number
        once = np.ones((int(test.sum()), 1))
        areas = [macro_auc(labels[test], p[repeat : repeat + 1, test], once).resampled[0] for p in (a, b)]
        differences.append(areas[0] - areas[1])
    return corrected_t(np.array(differences), test_over_train=0.25)


SETTINGS = {"scores": of_scores, "folds": of_folds, "differences": of_differences}

if __name__ == "__main__":
    main()
