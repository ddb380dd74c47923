"""The calibration of a package: one temperature, learned on predictions of patients by models that had not seen them.

A model of kind `calibrated` has learned its own temperature on the tuning patients; nothing is put on top of that.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from aggregate.models.base import softmax
from aggregate.models.calibrated import Calibrated, best_temperature
from aggregate.models.wrappers import logs_of

CALIBRATION = "calibration.json"


class Calibration(BaseModel):
    """calibration.json: how the probabilities of the models become those of the package."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    method: Literal["temperature", "of the model"]
    temperature: float = Field(gt=0, allow_inf_nan=False)
    """Probabilities become softmax(log p / temperature); 1 leaves them as they are."""
    learned_on: str
    n_patients: int

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities of those of the models (..., classes)."""
        return with_temperature(probabilities, self.temperature)


def with_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return softmax(log p / T); T = 1 changes no bit."""
    return probabilities if temperature == 1.0 else softmax(logs_of(probabilities) / temperature)


def learn_calibration(kind: str, probabilities: NDArray[np.float64], labels: NDArray[np.intp]) -> Calibration:
    """Learn the temperature of a package.

    Args:
        kind: of the model.
        probabilities: out of fold, float64 (repeats, n, classes); every row counts alike.
        labels: intp (n,).
    """
    repeats, n, _ = probabilities.shape
    if kind == Calibrated.kind:
        learned_on = "the tuning patients, by the model itself"
        return Calibration(method="of the model", temperature=1.0, learned_on=learned_on, n_patients=n)
    return Calibration(
        method="temperature",
        temperature=_temperature(probabilities, labels),
        learned_on=f"out-of-fold predictions of the cross-validation ({repeats} for each patient)",
        n_patients=n,
    )


def cross_fitted_temperatures(
    kind: str, probabilities: NDArray[np.float64], labels: NDArray[np.intp], fold: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return for each prediction the temperature that all folds but its own would give, float64 (repeats, n).

    So that what is told of calibrated probabilities is not told of the patients that the temperature was learned on.

    Args:
        kind: of the model.
        probabilities: out of fold, float64 (repeats, n, classes).
        labels: intp (n,).
        fold: intp (repeats, n).
    """
    found = np.ones(fold.shape)
    if kind == Calibrated.kind:
        return found
    for repeat, folds in enumerate(fold):
        for one in np.unique(folds):
            others = folds != one
            if others.any():  # with a single fold there is nobody else
                learned = _temperature(probabilities[repeat : repeat + 1, others], labels[others])
                found[repeat, folds == one] = learned
    return found


def _temperature(probabilities: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    repeats, _, n_classes = probabilities.shape
    rows = probabilities.reshape(-1, n_classes)
    return best_temperature(logs_of(rows), np.tile(labels, repeats))
