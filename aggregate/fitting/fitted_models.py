"""The fitted models of a cross-validation, asked again about patients who look different or are new."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.models.base import PatientEstimator, Samples
from aggregate.models.registry import load_model
from aggregate.statistics.printed_probabilities import as_printed
from aggregate.store.fit_cache import FitCache


class Fitted(Protocol):
    """A fitted model."""

    classes_: NDArray[np.intp]
    """The classes of the training patients, in the order of the probability columns."""

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Return whether there are data of each patient (patients,)."""
        ...

    def predict_proba(self, patients: Samples) -> NDArray[np.float64]:
        """Return the class probabilities, (patients, classes)."""
        ...


Change = Callable[[Patients], Patients]
"""Test patients -> the same ones, in the same order, with less to see."""


def fitted_models(result: OutOfFold, name: str, cache: FitCache) -> list[tuple[Fold, PatientEstimator]]:
    """Load the models of one name from the cache, each with its fold.

    Raises:
        ResultsError: a fit of the cache lacks its model.
    """
    return [(task.fold, load_model(cache.model_folder(task.key))) for task in result.tasks[name]]


def changed_probabilities(
    models: Sequence[tuple[Fold, Fitted]], patients: Patients, asked: Sequence[int], change: Change
) -> NDArray[np.float64]:
    """Let fitted out-of-fold models predict their test patients after a change, float64 (repeats, asked, classes).

    A patient of whom a model sees nothing after the change is predicted as the class frequencies of the training patients.

    Args:
        models: each with its fold.
        patients: those to whom the numbers of the folds refer.
        asked: numbers of the patients whose probabilities are returned; NaN where no model tests one.
        change: what is done to the test patients.
    """
    repeats = sorted({fold.repeat for fold, _ in models})
    n_classes = len(patients.classes)
    table = np.full((len(repeats), len(patients), n_classes), np.nan)
    for fold, model in models:
        shown = change(patients.take(fold.test))
        frequencies = np.bincount(patients.codes[fold.train], minlength=n_classes) / len(fold.train)
        found = np.tile(frequencies, (len(shown), 1))
        seen = np.flatnonzero(model.sees(shown))
        if len(seen):
            answers = model.predict_proba(shown.take(seen))
            found[seen] = in_all_classes(answers, model, n_classes, absent=0.0)
        table[repeats.index(fold.repeat), fold.test] = found
    return as_printed(table[:, np.asarray(asked, dtype=np.intp)])


def probabilities_of_new(
    models: Sequence[tuple[Fold, Fitted]], patients: Patients, n_classes: int
) -> NDArray[np.float64]:
    """Let every model predict patients whom none was trained on, float64 (models, patients, classes)."""
    return as_printed(
        np.stack(
            [
                in_all_classes(model.predict_proba(patients), model, n_classes, absent=0.0)
                for _, model in models
            ]
        )
    )


def in_all_classes(
    values: NDArray[np.float64], model: Fitted, n_classes: int, *, absent: float
) -> NDArray[np.float64]:
    """Return one column per class; `absent` fills the columns of classes without training patients."""
    result = np.full((len(values), n_classes), absent)
    result[:, model.classes_] = values
    return result
