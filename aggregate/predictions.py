"""Out-of-fold predictions: the main result of stage 2, from which all tables are computed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.printed_probabilities import as_printed


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of every patient from models that did not see it.

    Attributes:
        classes: class names, in the order of the probability columns.
        patient_ids: n patients, sorted.
        labels: intp (n,), index into classes.
        fold: intp (repeats, n), the fold in which a patient was tested, from 0.
        probabilities: model name -> float64 (repeats, n, classes), rows summing to 1 but for rounding, never NaN.
            Kept as they are printed, so that whatever is computed from them follows from predictions.csv.
        n_slices: intp (n,), slices in the bag.
        phases: per patient the phases present, such as "AP+PVP".
    """

    classes: tuple[str, ...]
    patient_ids: tuple[str, ...]
    labels: NDArray[np.intp]
    fold: NDArray[np.intp]
    probabilities: Mapping[str, NDArray[np.float64]]
    n_slices: NDArray[np.intp]
    phases: tuple[str, ...]

    def __post_init__(self) -> None:
        printed = {model: as_printed(p) for model, p in self.probabilities.items()}
        object.__setattr__(self, "probabilities", printed)

    @property
    def models(self) -> tuple[str, ...]:
        """Model names in the order of the configuration, baselines last."""
        return tuple(self.probabilities)

    @property
    def n_repeats(self) -> int:
        """Number of repeats of the cross-validation."""
        return len(self.fold)
