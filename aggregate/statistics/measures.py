"""Everything that is measured on one model, for every repeat and every resample of the patients at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.intervals import Scale
from aggregate.statistics.ranking import average_precision, mean_auc, ratio

MACRO = "macro"
SMALLEST_PROBABILITY = 1e-15


@dataclass(frozen=True)
class Metric:
    """What a metric of performance.csv means, and what its interval needs to know."""

    meaning: str
    scale: Scale = "logit"
    """Of the interval; "logit" for a proportion of patients or of pairs of patients."""
    counts: tuple[int, ...] = ()
    """The groups of patients that it counts: 0 those of the class, 1 the others; every group where none is named."""
    undefined: str = "it divides by zero"
    """What is the case where it does not exist."""


METRICS: Mapping[str, Metric] = {
    "auc": Metric(
        "Area under the ROC curve: probability that a patient of the class scores above another patient. 0.5 is chance."
    ),
    "average_precision": Metric("Area under the precision-recall curve. Chance is the share of the class."),
    "accuracy": Metric("Share of patients whose most probable class is the reference."),
    "balanced_accuracy": Metric("Mean of the sensitivities. Chance is one over the number of classes."),
    "macro_f1": Metric("Mean over the classes of f1."),
    "f1": Metric("Harmonic mean of sensitivity and PPV."),
    "kappa": Metric("Cohen's kappa: agreement beyond that of chance. 0 is chance, 1 perfect.", "linear"),
    "log_loss": Metric(
        "Mean of -log of the probability of the reference class. 0 is perfect; ln 3 = 1.10 is chance for three classes.",
        "log",
    ),
    "brier": Metric(
        "Mean squared error of the probabilities: of one class 0 to 1, summed over the classes (macro) 0 to 2.",
        "log",
    ),
    "sensitivity": Metric("Share of the patients of the class who are predicted as the class.", counts=(0,)),
    "specificity": Metric("Share of the other patients who are not predicted as the class.", counts=(1,)),
    "ppv": Metric(
        "Share of the patients predicted as the class who have it, at the class shares of this cohort.",
        undefined="no patient is called so",
    ),
    "npv": Metric(
        "Share of the patients not predicted as the class who do not have it, at the class shares of this cohort.",
        undefined="no patient is called so",
    ),
}
"""Every metric that `measure` returns."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One metric of one model; NaN where a value cannot be had.

    Attributes:
        per_repeat: float64 (repeats,), on the cohort itself.
        resampled: float64 (draws,), averaged over the repeats, for each column of the weights.
    """

    per_repeat: NDArray[np.float64]
    resampled: NDArray[np.float64]


Measured = Mapping[tuple[str, str], Measurement]
"""By class (or "macro", or a pair of classes) and metric."""


def measure(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> Measured:
    """Measure a model on weighted patients.

    Args:
        labels: intp (n,), index into classes.
        probabilities: float64 (repeats, n, classes).
        weights: float64 (n, draws), column 0 the cohort itself, as `draw_resamples` returns.
        classes: class names.

    Returns:
        The macro rows (auc, average_precision, accuracy, balanced_accuracy, macro_f1, kappa, log_loss, brier), then
        the rows of each class against the others, then auc of each pair of classes among themselves.
    """
    found = _ranked(labels, probabilities, weights, classes)
    found |= _counted(confusion(labels, probabilities, weights), classes)
    found |= _proper(labels, probabilities, weights, classes)
    found |= _pairwise(labels, probabilities, weights, classes)
    order = {name: i for i, name in enumerate([MACRO, *classes])}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0][0], len(order))))


def class_auc(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], weights: NDArray[np.float64], index: int
) -> Measurement:
    """AUC of one class against the others; arguments as for `measure`."""
    return _auc(probabilities[:, :, index], labels == index, weights)


def macro_auc(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> Measurement:
    """Mean over the classes of the one-vs-rest AUC; arguments as for `measure`."""
    return _mean([class_auc(labels, probabilities, weights, k) for k in range(probabilities.shape[2])])


def balanced_accuracy(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> Measurement:
    """Mean over the classes of the sensitivity; arguments as for `measure`."""
    return _averaged(_sensitivity(confusion(labels, probabilities, weights)).mean(axis=1))


def brier_losses(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Brier loss of each patient, summed over the classes: float64 (repeats, n)."""
    return np.asarray(_squared_errors(labels, probabilities).sum(axis=2))


def _squared_errors(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((probabilities - np.eye(probabilities.shape[2])[labels]) ** 2)  # (repeats, n, classes)


def predicted_labels(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the most probable class, the first of equals: intp (repeats, n)."""
    return np.asarray(np.argmax(probabilities, axis=2), dtype=np.intp)


def confusion(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weigh the patients by reference and predicted class: float64 (repeats, classes, classes, draws)."""
    repeats, _, k = probabilities.shape
    cell = labels * k + predicted_labels(probabilities)  # (repeats, n)
    is_in = (cell[:, None, :] == np.arange(k * k)[None, :, None]).astype(float)  # (repeats, cells, n)
    counts: NDArray[np.float64] = is_in @ weights
    return counts.reshape(repeats, k, k, -1)


def pair_name(first: str, second: str) -> str:
    """Name the row of two classes compared among themselves."""
    return f"{first} vs {second}"


def _ranked(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> dict[tuple[str, str], Measurement]:
    found = {}
    for k, name in enumerate(classes):
        found[name, "auc"] = class_auc(labels, probabilities, weights, k)
        precision = [average_precision(p[:, k], labels == k, weights) for p in probabilities]
        found[name, "average_precision"] = _averaged(np.stack(precision))
    for metric in ("auc", "average_precision"):
        found[MACRO, metric] = _mean([found[name, metric] for name in classes])
    return found


def _counted(counts: NDArray[np.float64], classes: Sequence[str]) -> dict[tuple[str, str], Measurement]:
    hits = np.einsum("rkkd->rkd", counts)
    actual, called, total = counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))
    everyone = total[:, None]
    rejected = everyone - actual - called + hits  # neither of the class nor called so
    per_class = {
        "sensitivity": _sensitivity(counts),
        "specificity": ratio(rejected, everyone - actual),
        "ppv": ratio(hits, called),
        "npv": ratio(rejected, everyone - called),
        "f1": ratio(2 * hits, actual + called),
    }
    accuracy = hits.sum(axis=1) / total
    by_chance = (actual * called).sum(axis=1) / total**2
    found = {
        (MACRO, "accuracy"): accuracy,
        (MACRO, "balanced_accuracy"): per_class["sensitivity"].mean(axis=1),
        (MACRO, "macro_f1"): per_class["f1"].mean(axis=1),
        (MACRO, "kappa"): ratio(accuracy - by_chance, 1 - by_chance),
    }
    for k, name in enumerate(classes):
        found |= {(name, metric): values[:, k] for metric, values in per_class.items()}
    return {row: _averaged(values) for row, values in found.items()}


def _sensitivity(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return ratio(np.einsum("rkkd->rkd", counts), counts.sum(axis=2))


def _proper(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> dict[tuple[str, str], Measurement]:
    """Proper scores: means over the patients of a loss per patient."""
    squared = _squared_errors(labels, probabilities)
    of_truth = np.take_along_axis(probabilities, labels[None, :, None], axis=2)[:, :, 0]
    losses = {
        (MACRO, "log_loss"): -np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)),
        (MACRO, "brier"): squared.sum(axis=2),
        **{(name, "brier"): squared[:, :, k] for k, name in enumerate(classes)},
    }
    means = np.stack([loss.mean(axis=0) for loss in losses.values()]) @ weights / weights.sum(axis=0)
    return {
        row: Measurement(loss.mean(axis=1), mean)
        for (row, loss), mean in zip(losses.items(), means, strict=True)
    }


def _pairwise(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> dict[tuple[str, str], Measurement]:
    """AUC of two classes among their own patients, ranked by p_a / (p_a + p_b)."""
    if len(classes) == 2:
        return {}
    found = {}
    for a, b in combinations(range(len(classes)), 2):
        either = np.isin(labels, (a, b))
        p_a, p_b = probabilities[:, either, a], probabilities[:, either, b]
        share = ratio(p_a, p_a + p_b, empty=0.5)
        found[pair_name(classes[a], classes[b]), "auc"] = _auc(share, labels[either] == a, weights[either])
    return found


def _auc(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> Measurement:
    everyone = np.ones((len(is_positive), 1))
    per_repeat = [mean_auc(score[None], is_positive, everyone)[0] for score in scores]
    return Measurement(np.array(per_repeat), mean_auc(scores, is_positive, weights))


def _averaged(values: NDArray[np.float64]) -> Measurement:
    """Keep the cohort of each repeat, and the average over the repeats of each draw; (repeats, draws)."""
    return Measurement(values[:, 0], values.mean(axis=0))


def _mean(parts: Sequence[Measurement]) -> Measurement:
    return Measurement(
        np.mean([part.per_repeat for part in parts], axis=0),
        np.mean([part.resampled for part in parts], axis=0),
    )
