"""The mean of the class probabilities of several different models: late fusion without anything to learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from aggregate.models.base import Labels, Samples, TunePatients
from aggregate.models.parameters import NotNegative
from aggregate.models.several import FitsEach
from aggregate.statistics.fusion_rules import mean_of_seeing, product_of_seeing
from pipeline.errors import ConfigError
from pipeline.names import hint_of_nearest


@dataclass(kw_only=True, eq=False, repr=False)
class Average(FitsEach):
    """Mean of the class probabilities of several models, each fitted by itself.

    With about 100 patients a rule without parameters is hard to beat by one that is learned (a stack): weights of the
    models cannot be told from so few. Those given in the configuration are chosen before the results. A model that has no data of
    a patient, such as one of biopsies where there is none, has no vote on that patient.
    """

    kind: ClassVar[str] = "average"

    weights: Mapping[str, NotNegative] = field(default_factory=dict)
    """Weight of each model by its name; 1 for those that are not named."""
    pool: Literal["mean", "product"] = "mean"
    """Mean of the probabilities, or their product divided by its sum, which suits models of different examinations: what both find
    possible counts, and what one of them excludes does not. A weight is then an exponent."""

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the models inside, and check the weights."""
        super().try_building(patients, n_classes)
        self._shares()

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit every model inside."""
        self._shares()
        super()._fit_patients(patients, labels, tune)

    def _joined(
        self, said: Sequence[NDArray[np.float64]], sees: Sequence[NDArray[np.bool_]]
    ) -> NDArray[np.float64]:
        shares, seen = np.array(self._shares()), np.stack(sees)
        # A model without data of a patient would give the class shares, which are no finding.
        join = product_of_seeing if self.pool == "product" else mean_of_seeing
        return join(np.stack(said), seen & (shares > 0)[:, None], shares)

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
