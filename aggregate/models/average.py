"""The mean of the class probabilities of several different models: late fusion without anything to learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.models.base import Arrays, Labels, Samples, TunePatients
from aggregate.models.class_codes import encode_labels
from aggregate.models.parameters import NotNegative
from aggregate.models.several import SeveralModels
from pipeline.errors import ConfigError
from pipeline.names import hint_of_nearest


@dataclass(kw_only=True, eq=False, repr=False)
class Average(SeveralModels):
    """Mean of the class probabilities of several models, each fitted by itself.

    With about 100 patients a rule without parameters is hard to beat by one that is learned (a stack): weights of the
    models cannot be told from so few. Those given in the configuration are chosen before the results.
    """

    kind: ClassVar[str] = "average"

    weights: Mapping[str, NotNegative] = field(default_factory=dict)
    """Weight of each model by its name; 1 for those that are not named."""

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the models inside, and check the weights."""
        super().try_building(patients, n_classes)
        self._shares()

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit every model inside."""
        self.classes_, _ = encode_labels(labels)
        self._shares()
        self.inside_ = [model.fit(patients, labels, tune=tune) for model in self.new_inside()]

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return the mean of the class probabilities (patients, classes)."""
        return self._mean([model.predict_proba(patients) for model in self.inside_])

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, the mean of those of the models inside (patients, classes)."""
        return self._mean([model.predict_tune(patients) for model in self.inside_])

    def _mean(self, said: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.average(said, axis=0, weights=self._shares())
        return mean

    def _shares(self) -> list[float]:
        """Return the weight of each model inside.

        Raises:
            ConfigError: a weight names no model, or all are 0.
        """
        for name in self.weights:
            if name not in self.models:
                raise ConfigError(
                    f"model {self.kind!r}: weights: no model {name!r}; {hint_of_nearest(name, list(self.models))}"
                )
        shares = [float(self.weights.get(name, 1.0)) for name in self.models]
        if not any(shares):
            raise ConfigError(f"model {self.kind!r}: weights: expected one above 0, found none")
        return shares

    def learned_arrays(self) -> Arrays:
        """Return nothing: the models inside keep what they learned."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take nothing."""
