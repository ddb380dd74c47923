"""Either positive: a patient has the class asked about if any of several models says so, as the clinic reads two examinations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.models.base import Labels, Samples, TunePatients
from aggregate.models.several import FitsEach
from aggregate.statistics.fusion_rules import either_of
from pipeline.errors import ConfigError
from pipeline.names import hint_of_nearest


@dataclass(kw_only=True, eq=False, repr=False)
class Either(FitsEach):
    """Positive for one class if any model inside that sees the patient names it, as with imaging or biopsy (Gigante et al. 2019).

    The class gets the largest of the models' probabilities, the others share the rest as in their mean. Where that would
    contradict the rule, the probability of the class is moved just across that of the most probable other class.
    """

    kind: ClassVar[str] = "either"

    positive: str | int = ""
    """The class that any of the models may name, such as cHCC-CCA; a whole number is its place among the classes, from 0."""

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the models inside, and look for the class."""
        super().try_building(patients, n_classes)
        known = getattr(patients, "classes", None)
        if known is not None:
            self._number_of(known)

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit every model inside."""
        super()._fit_patients(patients, labels, tune)
        self._number_of(self.classes_.tolist())

    def _joined(
        self, said: Sequence[NDArray[np.float64]], sees: Sequence[NDArray[np.bool_]]
    ) -> NDArray[np.float64]:
        return either_of(np.stack(said), np.stack(sees), self._number_of(self.classes_.tolist()))

    def _number_of(self, classes: Sequence[str | int]) -> int:
        """Return the number of the class.

        Raises:
            ConfigError: there is no such class; the nearest is named.
        """
        if isinstance(self.positive, int) and 0 <= self.positive < len(classes):
            return self.positive
        if self.positive not in classes:
            names = [str(name) for name in classes]
            near = hint_of_nearest(str(self.positive), names)
            raise ConfigError(
                f"model {self.kind!r}: positive: expected a class, found {self.positive!r}; {near}"
            )
        return list(classes).index(self.positive)


def with_class_numbers(kind: object, parameters: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return parameters in which the class that a model asks about is its number, as labels of a fit are numbers."""
    found = dict(parameters)
    if kind == Either.kind and found.get("positive") in classes:
        found["positive"] = classes.index(str(found["positive"]))
    inside = found.get("models")
    if isinstance(inside, dict):
        found["models"] = {
            name: with_class_numbers(model.get("kind"), model, classes) if isinstance(model, dict) else model
            for name, model in inside.items()
        }
    return found
