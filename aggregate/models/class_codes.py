"""Labels as codes of the classes of the training patients, and the weights of the classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import FoldError

Labels = NDArray[Any]


def encode_labels(labels: Labels) -> tuple[Labels, NDArray[np.intp]]:
    """Return the sorted classes and the index of each label's class (n,).

    Raises:
        FoldError: there are fewer than two classes.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        raise FoldError(
            "expected at least two classes among the training patients, "
            f"found {len(classes)} class: {classes.tolist()}"
        )
    return classes, codes.astype(np.intp)


def codes_among(classes: Labels, labels: Labels) -> NDArray[np.intp]:
    """Return the index of each label in `classes` (n,).

    Raises:
        FoldError: a label is not among the classes of the training patients.
    """
    labels = np.asarray(labels)
    unseen = sorted(set(labels.tolist()) - set(classes.tolist()))
    if unseen:
        raise FoldError(
            f"no training patient has the class {unseen[0]!r} of a tuning patient; use fewer folds"
        )
    return np.searchsorted(classes, labels).astype(np.intp)


def balanced_weights(codes: NDArray[np.intp], n_classes: int) -> NDArray[np.float64]:
    """Return the weight of each class (n_classes,): n / (classes x patients of the class)."""
    counts = np.bincount(codes, minlength=n_classes)
    weights: NDArray[np.float64] = len(codes) / (n_classes * np.maximum(counts, 1))
    return weights
