"""The models of a package: those of the cross-validation, averaged, or one that is fitted anew on all patients."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aggregate.cross_validated_run import Run, cross_validate_all
from aggregate.planning.fit_tasks import FitTask
from aggregate.planning.splits import fold_of_everybody

Refit = Literal["folds", "all"]
REFIT_IN_WORDS = {
    "folds": "the models of all folds and repeats of the cross-validation, their probabilities averaged; each learned from all "
    "patients but those of its fold",
    "all": "one model that was fitted anew on all patients, with a share of them for early stopping as in the folds",
}


def refitted_tasks(run: Run, refit: Refit) -> Sequence[FitTask]:
    """Return the fits that a package is made of; all of them are in the cache of the run afterwards.

    Args:
        run: a finished run with one model.
        refit: how.
    """
    (spec,) = run.specs
    if refit == "folds":
        return run.result.tasks[spec.name]
    splits, seed = run.config.aggregate.splits, run.config.aggregate.seed
    fold = fold_of_everybody(run.study.patients, tune_share=splits.tune_share, seed=seed)
    return cross_validate_all(run.config, run.study, [fold], [spec]).tasks[spec.name]


def like_the_package(
    probabilities: NDArray[np.float64], fold: NDArray[np.intp], refit: Refit
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return out-of-fold probabilities that are as sure as those of the package, and the fold of each.

    A mean over several models is less sure of itself than each of them. So of models that are averaged the mean over the
    repeats stands, as near to the mean over all of them as models come that had not seen the patient.

    Args:
        probabilities: float64 (repeats, n, classes).
        fold: intp (repeats, n).
        refit: how the models of the package come about.
    """
    if refit == "all":
        return probabilities, fold
    return probabilities.mean(axis=0, keepdims=True), fold[:1]
