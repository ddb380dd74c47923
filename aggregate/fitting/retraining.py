"""Retraining of a model on some of the phases."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.statistics.printed_probabilities import as_printed
from pipeline.errors import FoldError

CrossValidate = Callable[[StudyCohort, Sequence[Fold]], OutOfFold]
Sees = Callable[[Patients], NDArray[np.bool_]]
"""Says of which patients a model sees anything, as `PatientEstimator.sees`."""


def retrained_probabilities(
    study: StudyCohort,
    folds: Sequence[Fold],
    phases: frozenset[str],
    tested: NDArray[np.intp],
    *,
    fit: CrossValidate,
    sees: Sees,
) -> NDArray[np.float64]:
    """Retrain a model on some phases; return out-of-fold probabilities, float64 (repeats, tested, classes).

    A patient with none of the phases is not used for training or tuning, and is predicted as the class frequencies of
    the training patients.

    Args:
        study: the patients.
        folds: those of the run.
        phases: the phases to train on.
        tested: numbers of the patients whose probabilities are returned.
        fit: cross-validates the model.
        sees: of the model.

    Raises:
        FoldError: a fold has no training patient of one of its classes with any of the phases; the message says which.
    """
    shown, n_classes = study.in_phases(phases), len(study.patients.classes)
    seen = sees(shown.patients)
    narrowed = [_only(fold, seen) for fold in folds]
    for fold, narrow in zip(folds, narrowed, strict=True):
        _check_classes(study, fold, narrow)
    result = fit(shown, narrowed)
    (fits,) = result.fits.values()
    repeats = sorted({fold.repeat for fold in folds})
    table = np.full((len(repeats), len(study.patients), n_classes), np.nan)
    for fold, narrow, one in zip(folds, narrowed, fits, strict=True):
        frequencies = np.bincount(study.patients.codes[narrow.train], minlength=n_classes) / len(narrow.train)
        table[repeats.index(fold.repeat), fold.test] = frequencies
        table[repeats.index(fold.repeat), narrow.test] = one.test
    return as_printed(table[:, tested])


def _check_classes(study: StudyCohort, fold: Fold, narrow: Fold) -> None:
    """Refuse a fold whose training patients lose a class, which no model could then learn to tell."""
    codes, classes = study.patients.codes, study.patients.classes
    lost = np.setdiff1d(codes[fold.train], codes[narrow.train])
    if len(lost):
        raise FoldError(
            f"repeat {fold.repeat}, fold {fold.fold}: no training patient of class {classes[lost[0]]} has any "
            "of these phases"
        )


def _only(fold: Fold, seen: NDArray[np.bool_]) -> Fold:
    return replace(
        fold,
        train=fold.train[seen[fold.train]],
        tune=fold.tune[seen[fold.tune]],
        test=fold.test[seen[fold.test]],
    )
