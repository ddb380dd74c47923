"""How often do the 95 % confidence intervals of the tables hold the truth?

usage: python benchmarks/coverage.py [--settings scores folds differences] [--simulations 1000] [--draws 300]
                                     [--jobs 2] [--output FILE]

Three settings, each with 120 patients of three classes, in equal shares or 60/45/15:

scores       The probabilities come from a known distribution, five noisy repeats per patient; the truth is the
             value of the metric in the population. This is what an interval over patients claims to cover.
folds        The probabilities come from 5 x 5 cross-validated linear discriminants that are trained anew in
             every simulation; the truth is the mean of the 25 fitted models on new patients without end.
differences  Two models of equal quality. The truth of their difference is 0, or the difference of the fitted
             models. One minus the coverage of 0 is how often a test calls a difference that is none.

Every interval is made by the code that makes the tables; beside those of scores stand "percentile" rows, of
resamples with replacement, for comparison. What was found is told in results/reference/coverage.md.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import norm
from scipy.stats.qmc import Sobol
from threadpoolctl import threadpool_limits

from aggregate.statistics.comparisons import Difference, corrected_t, delong, paired_bootstrap
from aggregate.statistics.measures import (
    MACRO,
    SMALLEST_PROBABILITY,
    Measurement,
    brier_losses,
    class_auc,
    macro_auc,
    measure,
)
from aggregate.statistics.ranking import average_precision
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.statistics.training import design_effect, trained_sample
from aggregate.tables.performance import estimate_of, group_sizes
from pipeline.tables import write_table

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
SHARES = {"40/40/40": (40, 40, 40), "60/45/15": (60, 45, 15)}
SIGNALS = {"moderate": 1.0, "strong": 2.0}
REPEATS, FOLDS = 5, 5
FEATURES = 20
SHRINKAGE = 0.3
ENOUGH = 512
"""New patients of each class on which fitted models are judged; evenly spread, they are worth many more."""
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
    rows = []
    for setting, (classes, sizes), (signal, separation) in product(
        options.settings, SHARES.items(), SIGNALS.items()
    ):
        truth = population(sizes, separation) if setting == "scores" else {}
        found = Parallel(n_jobs=options.jobs)(
            delayed(one)(
                SETTINGS[setting],
                np.random.default_rng([seed, *sizes]),
                sizes,
                separation,
                options.draws,
                truth=truth,
            )
            for seed in range(options.simulations)
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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities."""
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    return exponentials / exponentials.sum(axis=2, keepdims=True)


def of_folds(rng, sizes: Sequence[int], separation: float, draws: int, _: Mapping) -> Held:
    """Intervals on the out-of-fold predictions of models that were trained in folds."""
    labels, features = drawn_features(rng, sizes, separation)
    fold = drawn_folds(rng, labels)
    fitted = trained(labels, features, fold)
    truth = performance_on(fitted.of_new_patients(separation), sizes)
    return intervals(labels, fitted.out_of_fold(features, fold), draws, truth, rng, fold=fold)


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
        for k in range(3):
            members = np.flatnonzero(labels == k)
            of_repeat[rng.permuted(members)] = np.arange(len(members)) % FOLDS
    return fold


@dataclass(frozen=True)
class Fitted:
    """Linear discriminants of every fold: slopes (models, features, 3) and intercepts (models, 3) of the logits."""

    slopes: np.ndarray
    intercepts: np.ndarray

    def out_of_fold(self, features: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Probabilities of each patient by the models that did not see it: (repeats, n, 3)."""
        model = np.arange(REPEATS)[:, None] * FOLDS + fold
        logits = np.einsum("np,rnpk->rnk", features, self.slopes[model]) + self.intercepts[model]
        return softmax(logits)

    def of_new_patients(self, separation: float) -> np.ndarray:
        """Probabilities (models, 3 x ENOUGH, 3) of new patients, class by class.

        The features are normal, and so are the three logits; these are drawn, on a Sobol net.
        """
        covariance = np.einsum("mpk,mpj->mkj", self.slopes, self.slopes) + 1e-10 * np.eye(3)
        spread = NET @ np.linalg.cholesky(covariance).transpose(0, 2, 1)  # (models, ENOUGH, 3)
        means = separation * self.slopes[:, :3] + self.intercepts[:, None]  # (models, classes, 3)
        return softmax((means[:, :, None] + spread[:, None]).reshape(len(means), -1, 3))


NET = norm.ppf(Sobol(3, rng=20261123).random(ENOUGH))


def trained(labels: np.ndarray, features: np.ndarray, fold: np.ndarray) -> Fitted:
    """Fit a linear discriminant with a shrunken covariance to the training patients of every fold."""
    slopes, intercepts = [], []
    for repeat, number in np.ndindex(REPEATS, FOLDS):
        seen = fold[repeat] != number
        x, y = features[seen], labels[seen]
        means = np.stack([x[y == k].mean(axis=0) for k in range(3)])
        rest = x - means[y]
        covariance = (1 - SHRINKAGE) * rest.T @ rest / len(x)
        covariance += SHRINKAGE * np.trace(rest.T @ rest / len(x)) / FEATURES * np.eye(FEATURES)
        slopes.append(np.linalg.solve(covariance, means.T))
        intercepts.append(np.log(np.bincount(y) / len(y)) - np.einsum("kp,pk->k", means, slopes[-1]) / 2)
    return Fitted(np.stack(slopes), np.stack(intercepts))


def performance_on(probabilities: np.ndarray, sizes: Sequence[int]) -> Mapping[tuple[str, str], float]:
    """Metrics averaged over the models (models, 3 x ENOUGH, 3), the classes in their shares."""
    labels = np.repeat(np.arange(3), ENOUGH)
    share = np.repeat(np.array(sizes) / sum(sizes) / ENOUGH, ENOUGH)
    called = probabilities.argmax(axis=2)
    found = areas_on(probabilities, sizes)
    for k, name in enumerate(CLASSES):
        positive, score = labels == k, probabilities[:, :, k]
        precision = [average_precision(p, positive, share[:, None])[0] for p in score]
        found[name, "average_precision"] = float(np.mean(precision))
        found[name, "sensitivity"] = float(np.mean(called[:, positive] == k))
        spared = (called[:, ~positive] != k).mean(axis=0)
        found[name, "specificity"] = float(np.average(spared, weights=share[~positive]))
        found[name, "brier"] = float(((score - positive) ** 2).mean(axis=0) @ share)
    for metric, of_class in (
        ("average_precision", "average_precision"),
        ("balanced_accuracy", "sensitivity"),
    ):
        found[MACRO, metric] = float(np.mean([found[name, of_class] for name in CLASSES]))
    of_truth = np.take_along_axis(probabilities, labels[None, :, None], axis=2)[:, :, 0]
    found[MACRO, "log_loss"] = float(-np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)).mean(axis=0) @ share)
    found[MACRO, "brier"] = sum(found[name, "brier"] for name in CLASSES)
    found[MACRO, "accuracy"] = float((called == labels).mean(axis=0) @ share)
    return found


def areas_on(probabilities: np.ndarray, sizes: Sequence[int]) -> dict[tuple[str, str], float]:
    """AUC of each class and their mean; arguments as `performance_on`."""
    found = {}
    for k, name in enumerate(CLASSES):
        scores = probabilities[:, :, k].reshape(len(probabilities), 3, ENOUGH)
        positives = np.sort(scores[:, k], axis=1)
        others = [j for j in range(3) if j != k]
        beaten = [
            np.mean(
                [1 - np.searchsorted(p, s[j]).mean() / ENOUGH for p, s in zip(positives, scores, strict=True)]
            )
            for j in others
        ]
        found[name, "auc"] = float(np.average(beaten, weights=[sizes[j] for j in others]))
    found[MACRO, "auc"] = float(np.mean([found[name, "auc"] for name in CLASSES]))
    return found


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
    fold = drawn_folds(rng, labels)
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


SETTINGS = {"scores": of_scores, "folds": of_folds, "differences": of_differences}

if __name__ == "__main__":
    main()
