"""Cross-validation on shares of the training patients, for a learning curve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.folds import Fold
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.fitting.cross_validation import predictions_of
from aggregate.fitting.retraining import CrossValidate
from pipeline.errors import FoldError

_FEWEST_OF_CLASS = 2
"""A class keeps as many training patients, where it has them: less is no training."""


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """One model, trained on a share of the training patients of every fold.

    Attributes:
        model: its name.
        share: of the training and of the tuning patients.
        n_train: training patients, mean over the folds.
        n_tune: tuning patients, mean over the folds.
        probabilities: out of fold, float64 (repeats, n, classes), of the patients of the predictions; None where no
            model could be trained.
        problem: why none could be.
        keys: of the fits in the cache.
    """

    model: str
    share: float
    n_train: float
    n_tune: float
    probabilities: NDArray[np.float64] | None
    problem: str = ""
    keys: tuple[str, ...] = ()


def folds_of_share(folds: Sequence[Fold], codes: NDArray[np.intp], share: float, *, seed: int) -> list[Fold]:
    """Return folds with a share of the patients of each class who train, and of those who tune; all test patients stay.

    Whoever has fewer patients also has fewer to tune on, so both roles shrink. Every share holds the patients of the
    smaller ones, and the share 1 is the fold itself.

    Args:
        folds: the whole ones.
        codes: intp (n,), class of each patient.
        share: above 0, up to 1.
        seed: of the order in which patients come in.
    """
    return [
        _of_share(fold, codes, share, np.random.default_rng([seed, 0x1EA7, fold.repeat, fold.fold]))
        for fold in folds
    ]


def curve_points(
    study: StudyCohort,
    folds: Sequence[Fold],
    model: str,
    shares: Sequence[float],
    *,
    fit: CrossValidate,
    seed: int,
) -> Iterator[CurvePoint]:
    """Train a model on each share of the training patients, the smallest first.

    Args:
        study: the patients.
        folds: the whole ones.
        model: its name.
        shares: above 0, up to 1.
        fit: cross-validates the model.
        seed: of the choice of the patients.
    """
    for share in sorted(set(shares)):
        chosen = folds_of_share(folds, study.patients.codes, share, seed=seed)
        n_train, n_tune = (
            float(np.mean([len(getattr(f, role)) for f in chosen])) for role in ("train", "tune")
        )
        point = CurvePoint(model, share, n_train, n_tune, None)
        try:
            result = fit(study, chosen)
        except FoldError as error:
            yield replace(point, problem=str(error))
            continue
        keys = tuple(task.key for task in result.tasks[model])
        yield replace(point, probabilities=predictions_of(study, result).probabilities[model], keys=keys)


def _of_share(fold: Fold, codes: NDArray[np.intp], share: float, rng: np.random.Generator) -> Fold:
    train = _nested(fold.train, codes, share, _FEWEST_OF_CLASS, rng)
    return replace(fold, train=train, tune=_nested(fold.tune, codes, share, 1, rng))


def _nested(
    members: NDArray[np.intp], codes: NDArray[np.intp], share: float, fewest: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return the first of the patients of each class, in an order that does not hang on the share; sorted."""
    order, kept = rng.permutation(members), []
    for label in np.unique(codes[members]):
        of_class = order[codes[order] == label]
        kept.append(of_class[: max(fewest, round(share * len(of_class)))])
    return np.sort(np.concatenate(kept)) if kept else members
