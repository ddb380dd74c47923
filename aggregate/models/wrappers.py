"""Estimators around another model: a grid search of its parameters, and calibration. Both use train and tune only."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from operator import or_
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.patient import Reads
from aggregate.models import building
from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients, seed_of, softmax
from aggregate.models.class_codes import codes_among, encode_labels
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.plain import PLAIN_MODELS
from pipeline.errors import ConfigError, FoldError
from pipeline.provenance import sha256_of_json


@dataclass(kw_only=True, eq=False, repr=False)
class Wrapper(PatientEstimator):
    """A model around an inner model, which is saved in the subfolder `inner`."""

    model: str = "attention_mil"
    """Kind of the inner model."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the inner model."""

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of code outside this package that the inner models need; empty if there is none."""
        hashes = [model.code_sha256(given) for model, given in cls.models_inside(parameters)]
        return sha256_of_json(hashes) if any(hashes) else ""

    @classmethod
    def models_inside(
        cls, parameters: Mapping[str, Any]
    ) -> list[tuple[type[PatientEstimator], Mapping[str, Any]]]:
        """Return every possible inner model, at all depths, with its parameters.

        Raises:
            ConfigError: a kind is unknown.
        """
        model = building.find(_inner_kinds(), str(parameters.get("model", cls.model)))
        found: list[tuple[type[PatientEstimator], Mapping[str, Any]]] = []
        for choice in _combinations(parameters.get("grid", {})):
            given = {**parameters.get("parameters", {}), **choice}
            found.append((model, given))
            if issubclass(model, Wrapper):
                found += model.models_inside(given)
        return found

    @property
    def is_savable(self) -> bool:  # type: ignore[override]  # depends on the inner model
        """Whether the inner model can be written without pickle."""
        return self.new_inner().is_savable

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the inner model, and the parts that it builds."""
        self.new_inner().try_building(patients, n_classes)

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return what the inner model reads, over all choices of its parameters."""
        return reduce(or_, (model.reads(given) for model, given in cls.models_inside(parameters)))

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Return whether the inner model has data of each patient (patients,)."""
        return (self.inner_ if hasattr(self, "inner_") else self.new_inner()).sees(patients)

    @abstractmethod
    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Train on `patients` and `tune`; set `inner_` and `classes_`."""

    def save(self, folder: Path) -> None:
        """Write the wrapper, and the inner model in a subfolder."""
        super().save(folder)
        self.inner_.save(folder / "inner")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote."""
        model = super().load(folder)
        model.inner_ = building.load(_inner_kinds(), folder / "inner")
        return model

    def new_inner(self, changes: Mapping[str, Any] | None = None) -> PatientEstimator:
        """Return the unfitted inner model, with some of its parameters changed.

        Raises:
            ConfigError: the kind, a parameter or a value is not allowed.
        """
        parameters = {**self.parameters, **(changes or {})}
        return building.build(_inner_kinds(), self.model, parameters, seed_of(self.random_state))


@dataclass(kw_only=True, eq=False, repr=False)
class Grid(Wrapper):
    """Grid search: the parameters of lowest log loss on the tuning patients or, without any, on inner training folds."""

    kind: ClassVar[str] = "grid"

    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Parameter -> values to try, in all combinations."""
    inner_folds: AtLeastTwo = 3
    """Folds within the training patients if there are no tuning patients."""

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the inner model with each choice of its parameters."""
        for choice in self._choices():
            self.new_inner(choice).try_building(patients, n_classes)

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Return which patients the best model has data of; before `fit`, all candidate models (patients,)."""
        if hasattr(self, "inner_"):
            return self.inner_.sees(patients)
        tried = np.stack([self.new_inner(choice).sees(patients) for choice in self._choices()])
        return np.asarray(tried.all(axis=0))

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Train every combination on `patients` and keep the best; ties go to the first."""
        self.classes_, _ = encode_labels(labels)
        choices = self._choices()
        if tune is None:
            losses = [self._inner_loss(choice, patients, labels) for choice in choices]
            best = int(np.argmin(losses))
            self.inner_ = self.new_inner(choices[best]).fit(patients, labels)
        else:
            fitted = [self.new_inner(choice).fit(patients, labels, tune=tune) for choice in choices]
            losses = [log_loss(model, *tune) for model in fitted]
            best = int(np.argmin(losses))
            self.inner_ = fitted[best]
        self.best_parameters_ = choices[best]

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes) of the best model."""
        return self.inner_.predict_proba(patients)

    def learned_arrays(self) -> Arrays:
        """Return the best parameters as JSON."""
        return {"best": np.frombuffer(json.dumps(self.best_parameters_).encode(), dtype=np.uint8)}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the best parameters."""
        self.best_parameters_ = json.loads(arrays["best"].tobytes())

    def _choices(self) -> list[dict[str, Any]]:
        if not self.grid or not all(len(values) for values in self.grid.values()):
            raise ConfigError(f"grid over {self.model!r}: expected at least one value for each parameter")
        return _combinations(self.grid)

    def _inner_loss(self, choice: Mapping[str, Any], patients: Samples, labels: Labels) -> float:
        _, counts = np.unique(labels, return_counts=True)
        n_folds = min(self.inner_folds, int(counts.min()))
        if n_folds < 2:
            raise FoldError("a grid without tuning patients needs two training patients of each class")
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed_of(self.random_state))
        total = 0.0
        for train, held_out in splitter.split(np.zeros(len(labels)), labels):
            model = clone(self.new_inner(choice)).fit(Chosen(patients, train), labels[train])
            total += len(held_out) * log_loss(model, Chosen(patients, held_out), labels[held_out])
        return total / len(labels)


@dataclass(kw_only=True, eq=False, repr=False)
class Calibrated(Wrapper):
    """Temperature scaling (Guo et al. 2017): probabilities softmax(log p / T), T chosen on the tuning patients.

    Without tuning patients T is 1. The ranking of patients by the odds of a class hardly changes.
    """

    kind: ClassVar[str] = "calibrated"

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Train the inner model, then choose the temperature of lowest log loss on `tune`."""
        self.inner_ = self.new_inner().fit(patients, labels, tune=tune)
        self.classes_ = self.inner_.classes_
        self.temperature_ = 1.0
        if tune is not None:
            logs = _logs(self.inner_.predict_proba(tune[0]))
            self.temperature_ = best_temperature(logs, codes_among(self.classes_, tune[1]))

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return calibrated class probabilities (patients, classes)."""
        return softmax(_logs(self.inner_.predict_proba(patients)) / self.temperature_)

    def learned_arrays(self) -> Arrays:
        """Return the temperature."""
        return {"temperature": np.array([self.temperature_])}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the temperature."""
        self.temperature_ = float(arrays["temperature"][0])


def _inner_kinds() -> Mapping[str, type[PatientEstimator]]:
    """Return the allowed inner models: a grid may be calibrated, a calibrated model is not wrapped again."""
    return {**PLAIN_MODELS, Grid.kind: Grid}


def _combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of a grid; for an empty grid, one that changes nothing."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def best_temperature(logits: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
    """Return the temperature between 1/20 and 20 with the lowest log loss of softmax(logits / T)."""
    rows = np.arange(len(codes))

    def loss(log_temperature: float) -> float:
        return float(-_logs(softmax(logits / np.exp(log_temperature)))[rows, codes].mean())

    found = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def log_loss(model: PatientEstimator, patients: Samples, labels: Labels) -> float:
    """Return the mean of -log p of the true class."""
    codes = codes_among(model.classes_, labels)
    return float(-_logs(model.predict_proba(patients))[np.arange(len(codes)), codes].mean())


def _logs(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities, 1e-12))
    return logs
