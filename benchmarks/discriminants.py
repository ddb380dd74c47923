"""Linear classifiers trained in folds, and what they are worth on patients without end: what coverage.py judges by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from aggregate.models.logistic import BagLogistic
from aggregate.statistics.measures import MACRO, SMALLEST_PROBABILITY
from aggregate.statistics.ranking import average_precision

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
FEATURES = 20
SHRINKAGE = 0.3
ENOUGH = 512
"""New patients of each class on which fitted models are judged; evenly spread, they are worth many more."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities."""
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    return exponentials / exponentials.sum(axis=2, keepdims=True)


def drawn_features(rng, sizes: Sequence[int], separation: float):
    """Features of which three speak for a class each and the others for none."""
    labels = np.repeat(np.arange(3), sizes)
    features = rng.normal(size=(len(labels), FEATURES))
    features[:, :3] += separation * np.eye(3)[labels]
    return labels, features


def drawn_folds(rng, labels: np.ndarray, *, repeats: int, folds: int) -> np.ndarray:
    """The fold of each patient in repeated stratified folds: (repeats, n)."""
    fold = np.zeros((repeats, len(labels)), dtype=np.intp)
    for of_repeat in fold:
        for k in range(3):
            members = np.flatnonzero(labels == k)
            of_repeat[rng.permuted(members)] = np.arange(len(members)) % folds
    return fold


@dataclass(frozen=True)
class Fitted:
    """Linear classifiers of every fold: slopes (repeats x folds, features, 3) and intercepts (repeats x folds, 3)."""

    slopes: np.ndarray
    intercepts: np.ndarray

    def out_of_fold(self, features: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Probabilities of each patient by the models that did not see it: (repeats, n, 3)."""
        repeats = len(fold)
        model = np.arange(repeats)[:, None] * (len(self.slopes) // repeats) + fold
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
    for repeat, number in np.ndindex(len(fold), int(fold.max()) + 1):
        seen = fold[repeat] != number
        x, y = features[seen], labels[seen]
        means = np.stack([x[y == k].mean(axis=0) for k in range(3)])
        rest = x - means[y]
        covariance = (1 - SHRINKAGE) * rest.T @ rest / len(x)
        covariance += SHRINKAGE * np.trace(rest.T @ rest / len(x)) / FEATURES * np.eye(FEATURES)
        slopes.append(np.linalg.solve(covariance, means.T))
        intercepts.append(np.log(np.bincount(y) / len(y)) - np.einsum("kp,pk->k", means, slopes[-1]) / 2)
    return Fitted(np.stack(slopes), np.stack(intercepts))


class OnVectors(BagLogistic):
    """phasemil's logistic regression, for rows of an array in place of bags."""


def tuned(labels: np.ndarray, features: np.ndarray, fold: np.ndarray) -> Fitted:
    """Fit phasemil's own ridge regression, its strength chosen anew in every fit by cross-validation within."""
    slopes, intercepts = [], []
    for repeat, number in np.ndindex(len(fold), int(fold.max()) + 1):
        seen = fold[repeat] != number
        seed = repeat * 1000 + number
        model = OnVectors(class_weight="none", random_state=seed).fit_vectors(features[seen], labels[seen])
        slopes.append(model.weights_ / model.std_[:, None])
        intercepts.append(model.bias_ - model.mean_ @ slopes[-1])
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
