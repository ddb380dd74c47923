"""The same study with some phases only, to train a model anew on them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from aggregate.crossval import OutOfFold
from aggregate.folds import Fold
from aggregate.predictions import as_printed
from aggregate.study import Study
from pipeline.bags import Bag
from pipeline.errors import FoldError

CrossValidate = Callable[[Study, Sequence[Fold]], OutOfFold]


class PhaseView(Sequence[Bag]):
    """Bags seen through some phases."""

    def __init__(self, bags: Sequence[Bag], phases: frozenset[str]) -> None:
        self.bags = bags
        self.phases = phases

    def __len__(self) -> int:
        return len(self.bags)

    @overload
    def __getitem__(self, index: int) -> Bag: ...
    @overload
    def __getitem__(self, index: slice) -> "PhaseView": ...
    def __getitem__(self, index: int | slice) -> "Bag | PhaseView":
        """Return one bag with the instances of the phases, or the view of a slice of the bags."""
        if isinstance(index, slice):
            return PhaseView(self.bags[index], self.phases)
        return self.bags[index].in_phases(self.phases)


def retrained_probabilities(
    study: Study, folds: Sequence[Fold], phases: frozenset[str], tested: NDArray[np.intp], fit: CrossValidate
) -> NDArray[np.float64]:
    """Train anew on some phases; return out-of-fold probabilities, float64 (repeats, tested, classes).

    A patient without any of the phases neither trains nor tunes, and gets the class frequencies of the training
    patients: there is nothing to look at.

    Raises:
        FoldError: a fold has no training patient of one of its classes with any of the phases; the message says which.
    """
    view = PhaseView(study.bags, phases)
    seen = np.array([bool(phases & set(header.phases_present)) for header in study.headers])
    narrowed = [_only(fold, seen) for fold in folds]
    for fold, narrow in zip(folds, narrowed, strict=True):
        _check_classes(study, fold, narrow)
    result = fit(replace(study, bags=view, view="+".join(sorted(phases))), narrowed)
    (fits,) = result.fits.values()
    repeats = sorted({fold.repeat for fold in folds})
    table = np.full((len(repeats), len(study.labels), len(study.classes)), np.nan)
    for fold, narrow, one in zip(folds, narrowed, fits, strict=True):
        frequencies = np.bincount(study.labels[narrow.train], minlength=len(study.classes)) / len(
            narrow.train
        )
        table[repeats.index(fold.repeat), fold.test] = frequencies
        table[repeats.index(fold.repeat), narrow.test] = one.test
    return as_printed(table[:, tested])


def _check_classes(study: Study, fold: Fold, narrow: Fold) -> None:
    """Refuse a fold whose training patients lose a class, which no model could then learn to tell."""
    lost = np.setdiff1d(study.labels[fold.train], study.labels[narrow.train])
    if len(lost):
        raise FoldError(
            f"repeat {fold.repeat}, fold {fold.fold}: no training patient of class {study.classes[lost[0]]} has any "
            "of these phases"
        )


def _only(fold: Fold, seen: NDArray[np.bool_]) -> Fold:
    return replace(
        fold,
        train=fold.train[seen[fold.train]],
        tune=fold.tune[seen[fold.tune]],
        test=fold.test[seen[fold.test]],
    )
