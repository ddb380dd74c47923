"""How often do the 95 % confidence intervals of the tables hold the truth?

usage: python benchmarks/coverage.py [--settings scores folds differences few tuned] [--simulations 1000] [--draws 300]
                                     [--jobs 2] [--output FILE]

Five settings, of three classes in equal shares or not, all but `few` with 120 patients:

scores       The probabilities come from a known distribution, five noisy repeats per patient; the truth is the
             value of the metric in the population. This is what an interval over patients claims to cover.
folds        The probabilities come from 5 x 5 cross-validated linear discriminants that are trained anew in
             every simulation; the truth is the mean of the 25 fitted models on new patients without end.
differences  Two models of equal quality. The truth of their difference is 0, or the difference of the fitted
             models. One minus the coverage of 0 is how often a test calls a difference that is none.
few          As folds, but 36 patients and 4 folds x 2 repeats.
tuned        As folds, but with phasemil's own ridge regression, whose strength every fit chooses by cross-validation within,
             on features without a signal or with a weak one: the fits differ most where there is least to find.

Every interval is made by the code that makes the tables; beside those of scores stand "percentile" rows, of
resamples with replacement, for comparison. What was found is told in results/reference/coverage.md.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from discriminants import (
    CLASSES,
    areas_on,
    drawn_features,
    drawn_folds,
    performance_on,
    softmax,
    trained,
    tuned,
)
from joblib import Parallel, delayed
from reference import write_reference
from threadpoolctl import threadpool_limits

from aggregate.statistics.comparisons import Difference, corrected_t, delong, paired_bootstrap
from aggregate.statistics.measures import (
    MACRO,
    Measurement,
    brier_losses,
    class_auc,
    macro_auc,
    measure,
)
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.statistics.training import design_effect, trained_sample
from aggregate.tables.performance import estimate_of, group_sizes

REPEATS, FOLDS = 5, 5
FEW_REPEATS, FEW_FOLDS = 2, 4
SHARES = {"40/40/40": (40, 40, 40), "60/45/15": (60, 45, 15)}
FEW_SHARES = {"12/12/12": (12, 12, 12), "16/12/8": (16, 12, 8)}
SIGNALS = {"moderate": 1.0, "strong": 2.0}
FAINT_SIGNALS = {"none": 0.0, "weak": 0.6}
COLUMNS = (
    "setting", "classes", "signal", "class", "metric", "truth", "interval", "coverage", "standard_error", "within",
    "truth_above", "truth_below", "mean_length", "simulations",
)  # fmt: skip
OURS, PERCENTILE = "as in the tables", "percentile"
OF_FITTED, OF_PROCEDURE = (
    "paired patient bootstrap, fitted models",
    "paired patient bootstrap, any training set",
)
LOWEST, HIGHEST = 0.93, 0.97
BLOCK = 25
"""Simulations of every setting between two writings of the table, so that a run can be broken off."""

Cell = tuple[str, str, str]
"""Setting, classes and signal."""
Held = dict[tuple[str, str, str], tuple[float, float, float]]
"""(class, metric, interval) -> (low, high, truth)."""


def main() -> None:
    """Run every setting and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=1000, help="of each setting")
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/reference/coverage.csv"))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options = parser.parse_args()
    cells = [
        cell
        for setting in options.settings
        for cell in product(
            [setting],
            FEW_SHARES if setting == "few" else SHARES,
            FAINT_SIGNALS if setting == "tuned" else SIGNALS,
        )
    ]
    truths = {
        cell: population(SHARES[cell[1]], SIGNALS[cell[2]]) if cell[0] == "scores" else {} for cell in cells
    }
    found: dict[Cell, list[Held]] = {cell: [] for cell in cells}
    rows: list[dict] = []
    for start in range(0, options.simulations, BLOCK):
        seeds = range(start, min(start + BLOCK, options.simulations))
        for cell in cells:
            found[cell] += simulated(cell, truths[cell], seeds, options)
        rows = [
            {**dict(zip(COLUMNS, cell, strict=False)), **row}
            for cell in cells
            for row in summary(found[cell])
        ]
        write_reference(options.output, rows)
        print(seeds.stop, "simulations done", flush=True)
    print(report(rows))


def simulated(cell: Cell, truth: Mapping, seeds: range, options: argparse.Namespace) -> list[Held]:
    """Run the simulations of some seeds in one of the settings."""
    setting, classes, signal = cell
    sizes = (SHARES | FEW_SHARES)[classes]
    return Parallel(n_jobs=options.jobs)(
        delayed(one)(
            SETTINGS[setting],
            np.random.default_rng([seed, *sizes]),
            sizes,
            (SIGNALS | FAINT_SIGNALS)[signal],
            options.draws,
            truth=truth,
        )
        for seed in seeds
    )


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
        error = float(np.sqrt(coverage * (1 - coverage) / len(values)))
        yield {
            "class": name,
            "metric": metric,
            "truth": float(truth.mean()),
            "interval": interval,
            "coverage": coverage,
            "standard_error": error,
            "within": verdict(coverage, error),
            "truth_above": float(np.mean(truth > high)),
            "truth_below": float(np.mean(truth < low)),
            "mean_length": float(np.mean(high - low)),
            "simulations": len(values),
        }


def verdict(coverage: float, error: float) -> str:
    """Say whether the coverage lies between 93 and 97 %: perhaps, where it is less than 2 standard errors outside."""
    outside = max(LOWEST - coverage, coverage - HIGHEST)
    return "yes" if outside <= 0 else "perhaps" if outside < 2 * error else "no"


def report(rows: Sequence[Mapping]) -> str:
    """Say in words how the intervals of the tables fare."""
    ours = [row for row in rows if row["interval"] != PERCENTILE]
    lines = ["coverage of the intervals in the tables, lowest to highest:"]
    for setting, metric in dict.fromkeys((row["setting"], row["metric"]) for row in ours):
        found = [row for row in ours if (row["setting"], row["metric"]) == (setting, metric)]
        shares = [100 * row["coverage"] for row in found]
        lines.append(
            f"  {setting:12} {metric:18} {min(shares):.1f} to {max(shares):.1f} % in {len(found)} rows"
        )
    counts = {word: sum(row["within"] == word for row in ours) for word in ("yes", "perhaps", "no")}
    return "\n".join([*lines, f"between 93 and 97 %: {counts} of {len(ours)} rows"])


def of_scores(rng, sizes: Sequence[int], separation: float, draws: int, truth: Mapping) -> Held:
    """Intervals on patients drawn from a known distribution of scores."""
    labels, probabilities = drawn_scores(rng, sizes, separation, REPEATS)
    return intervals(labels, probabilities, draws, truth, rng, fold=None)


def population(sizes: Sequence[int], separation: float) -> Mapping[tuple[str, str], float]:
    """Every metric in the population: the mean of 10 cohorts 25 times as large."""
    rng = np.random.default_rng(20261123)
    found = defaultdict(list)
    for _ in range(10):
        labels, probabilities = drawn_scores(rng, [25 * size for size in sizes], separation, 1)
        for row, values in measure(labels, probabilities, np.ones((len(labels), 1)), CLASSES).items():
            found[row].append(values.resampled[0])
    return {row: float(np.mean(values)) for row, values in found.items()}


def drawn_scores(rng, sizes: Sequence[int], separation: float, repeats: int):
    """Logits that are normal about the class of the patient, with noise of their own in every repeat."""
    labels = np.repeat(np.arange(3), sizes)
    logits = rng.normal(size=(len(labels), 3)) + separation * np.eye(3)[labels]
    return labels, softmax(logits + 0.5 * rng.normal(size=(repeats, len(labels), 3)))


def of_folds(
    rng,
    sizes: Sequence[int],
    separation: float,
    draws: int,
    _: Mapping,
    *,
    repeats=REPEATS,
    folds=FOLDS,
    train=trained,
) -> Held:
    """Intervals on the out-of-fold predictions of models that were trained in folds."""
    labels, features = drawn_features(rng, sizes, separation)
    fold = drawn_folds(rng, labels, repeats=repeats, folds=folds)
    fitted = train(labels, features, fold)
    truth = performance_on(fitted.of_new_patients(separation), sizes)
    return intervals(labels, fitted.out_of_fold(features, fold), draws, truth, rng, fold=fold)


def intervals(labels, probabilities, draws: int, truth: Mapping, rng, *, fold: np.ndarray | None) -> Held:
    """Intervals of every metric whose truth is known; of known scores both kinds."""
    weights = draw_resamples(labels, draws=draws, seed=int(rng.integers(1 << 31)))
    sample = Sample(labels, weights) if fold is None else trained_sample(labels, probabilities, fold, weights)
    both = weights if fold is not None else np.hstack([weights, with_replacement(rng, labels, draws)])
    held: Held = {}
    for (name, metric), found in measure(labels, probabilities, both, CLASSES).items():
        if (name, metric) not in truth:
            continue
        ours = Measurement(found.per_repeat, found.resampled[: 1 + draws])
        estimate = estimate_of(ours, metric, group_sizes(labels, CLASSES, name), 0.95, sample)
        if estimate.low is not None and estimate.high is not None:
            held[name, metric, OURS] = estimate.low, estimate.high, truth[name, metric]
        if fold is None:
            held[name, metric, PERCENTILE] = *percentiles(found.resampled[1 + draws :]), truth[name, metric]
    return held


def with_replacement(rng, labels: np.ndarray, draws: int) -> np.ndarray:
    """The usual bootstrap, within each class: (n, draws)."""
    sizes = np.bincount(labels)
    return np.concatenate([rng.multinomial(n, np.full(n, 1 / n), size=draws).T for n in sizes]).astype(float)


def percentiles(resampled: np.ndarray) -> tuple[float, float]:
    """The interval that most papers print: the middle 95 % of the resamples."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def of_differences(rng, sizes: Sequence[int], separation: float, draws: int, _: Mapping) -> Held:
    """Two models of equal quality: the logits of each are what the other's could have been."""
    labels = np.repeat(np.arange(3), sizes)
    shared = rng.normal(size=(len(labels), 3)) * np.sqrt(0.5) + separation * np.eye(3)[labels]
    own = shared + np.sqrt(0.5) * rng.normal(size=(2, len(labels), 3))
    a, b = (softmax(o + 0.5 * rng.normal(size=(REPEATS, len(labels), 3))) for o in own)
    weights = draw_resamples(labels, draws=draws, seed=int(rng.integers(1 << 31)))
    options = {"smallest_n": min(sizes), "sample": Sample(labels, weights)}
    macro = [macro_auc(labels, p, weights).resampled for p in (a, b)]
    rare = [class_auc(labels, p, weights, 2).resampled for p in (a, b)]
    found = {
        (MACRO, "auc", "paired patient bootstrap"): (paired_bootstrap(*macro, **options), 0.0),
        (CLASSES[2], "auc", "paired patient bootstrap"): (paired_bootstrap(*rare, **options), 0.0),
        (CLASSES[2], "auc", "DeLong"): (delong(a[:, :, 2], b[:, :, 2], labels == 2), 0.0),
        **of_trained(rng, sizes, separation, weights),
    }
    return {
        key: (d.low, d.high, truth)
        for key, (d, truth) in found.items()
        if d.low is not None and d.high is not None
    }


def of_trained(
    rng, sizes: Sequence[int], separation: float, weights: np.ndarray
) -> Mapping[tuple[str, str, str], tuple[Difference, float]]:
    """Two models that see different but equally good features, trained in the same folds."""
    labels, first = drawn_features(rng, sizes, separation)
    _, second = drawn_features(rng, sizes, separation)
    fold = drawn_folds(rng, labels, repeats=REPEATS, folds=FOLDS)
    models = [trained(labels, features, fold) for features in (first, second)]
    a, b = (m.out_of_fold(features, fold) for m, features in zip(models, (first, second), strict=True))
    effect = design_effect(brier_losses(labels, a) - brier_losses(labels, b), labels, fold)
    paired = paired_bootstrap(
        *[macro_auc(labels, p, weights).resampled for p in (a, b)],
        smallest_n=min(sizes),
        sample=Sample(labels, weights, effect),
    )
    of_a, of_b = (areas_on(m.of_new_patients(separation), sizes)[MACRO, "auc"] for m in models)
    return {
        (MACRO, "auc", OF_FITTED): (paired, of_a - of_b),
        (MACRO, "auc", OF_PROCEDURE): (paired, 0.0),
        (MACRO, "auc", "Nadeau-Bengio corrected t"): (of_each_fold(labels, a, b, fold), 0.0),
    }


def of_each_fold(labels: np.ndarray, a: np.ndarray, b: np.ndarray, fold: np.ndarray) -> Difference:
    """The corrected t over the macro AUC of every fold."""
    differences = []
    for repeat, number in np.ndindex(REPEATS, FOLDS):
        test = fold[repeat] == number
        areas = [area_of_few(labels[test], p[repeat, test]) for p in (a, b)]
        differences.append(areas[0] - areas[1])
    return corrected_t(np.array(differences), test_over_train=1 / (FOLDS - 1))


def area_of_few(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Macro AUC of (n, 3) probabilities without ties, pair by pair."""
    pairs = [(probabilities[labels == k, k], probabilities[labels != k, k]) for k in range(3)]
    return float(np.mean([(positives[:, None] > negatives).mean() for positives, negatives in pairs]))


SETTINGS = {
    "scores": of_scores,
    "folds": of_folds,
    "differences": of_differences,
    "few": partial(of_folds, repeats=FEW_REPEATS, folds=FEW_FOLDS),
    "tuned": partial(of_folds, train=tuned),
}

if __name__ == "__main__":
    main()
