"""One fold of a cross-validation over patients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import LeakError

ROLES = ("train", "tune", "test")


@dataclass(frozen=True, eq=False)
class Fold:
    """The training, tuning and test patients of one fold, as indices into the sorted list of patients.

    Attributes:
        repeat: from 0.
        fold: from 0 within the repeat.
        train: intp (n_train,), sorted.
        tune: intp (n_tune,), sorted: used for early stopping, hyper-parameters, calibration and thresholds.
        test: intp (n_test,), sorted: used for evaluation only.

    Raises:
        LeakError: a patient has two roles.
    """

    repeat: int
    fold: int
    train: NDArray[np.intp]
    tune: NDArray[np.intp]
    test: NDArray[np.intp]

    def __post_init__(self) -> None:
        everyone, counts = np.unique(np.concatenate([self.train, self.tune, self.test]), return_counts=True)
        if (counts > 1).any():
            twice = everyone[counts > 1].tolist()
            raise LeakError(f"repeat {self.repeat}, fold {self.fold}: patients number {twice} have two roles")
