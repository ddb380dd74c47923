"""Calibration of another model by temperature scaling. It sees train and tune only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients, softmax
from aggregate.models.class_codes import codes_among
from aggregate.models.ensemble import Ensemble
from aggregate.models.plain import PLAIN_MODELS
from aggregate.models.wrappers import Grid, Wrapper, logs_of


@dataclass(kw_only=True, eq=False, repr=False)
class Calibrated(Wrapper):
    """Temperature scaling (Guo et al. 2017): probabilities softmax(log p / T), T chosen on the tuning patients.

    Without tuning patients T is 1. The order of patients by any one class's odds stays nearly as it is.
    """

    kind: ClassVar[str] = "calibrated"

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[PatientEstimator]]:
        """Return what may be inside: a grid or an ensemble, too."""
        return {**PLAIN_MODELS, Grid.kind: Grid, Ensemble.kind: Ensemble}

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Train the model inside, then choose the temperature of the lowest log loss on `tune`."""
        self.inner_ = self.new_inner().fit(patients, labels, tune=tune)
        self.classes_ = self.inner_.classes_
        self.temperature_ = 1.0
        if tune is not None:
            logs = logs_of(self.inner_.predict_tune(tune[0]))
            self.temperature_ = best_temperature(logs, codes_among(self.classes_, tune[1]))

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return calibrated class probabilities (patients, classes)."""
        return softmax(logs_of(self.inner_.predict_proba(patients)) / self.temperature_)

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return calibrated class probabilities of tuning patients (patients, classes)."""
        return softmax(logs_of(self.inner_.predict_tune(patients)) / self.temperature_)

    def learned_arrays(self) -> Arrays:
        """Return the temperature."""
        return {"temperature": np.array([self.temperature_])}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over the temperature."""
        self.temperature_ = float(arrays["temperature"][0])


def best_temperature(logits: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
    """Return the temperature between 1/20 and 20 of the lowest log loss of softmax(logits / T)."""
    rows = np.arange(len(codes))

    def loss(log_temperature: float) -> float:
        return float(-logs_of(softmax(logits / np.exp(log_temperature)))[rows, codes].mean())

    found = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))
