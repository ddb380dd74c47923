"""The mean of the class probabilities of several different models: late fusion without anything to learn."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.models.base import Arrays, Labels, Samples, TunePatients
from aggregate.models.class_codes import encode_labels
from aggregate.models.several import SeveralModels


@dataclass(kw_only=True, eq=False, repr=False)
class Average(SeveralModels):
    """Mean of the class probabilities of several models, each fitted by itself.

    With about 100 patients a rule without parameters is hard to beat by one that is learned (a stack): weights of the
    models cannot be told from so few.
    """

    kind: ClassVar[str] = "average"

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit every model inside."""
        self.classes_, _ = encode_labels(labels)
        self.inside_ = [model.fit(patients, labels, tune=tune) for model in self.new_inside()]

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return the mean of the class probabilities (patients, classes)."""
        mean: NDArray[np.float64] = np.mean([model.predict_proba(patients) for model in self.inside_], axis=0)
        return mean

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, the mean of those of the models inside (patients, classes)."""
        mean: NDArray[np.float64] = np.mean([model.predict_tune(patients) for model in self.inside_], axis=0)
        return mean

    def learned_arrays(self) -> Arrays:
        """Return nothing: the models inside keep what they learned."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take nothing."""
