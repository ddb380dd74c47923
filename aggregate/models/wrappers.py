"""Estimators around another model, and the grid of its parameters. They see train and tune only."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from operator import or_
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.patient import Reads
from aggregate.models import building
from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients, seed_of
from aggregate.models.class_codes import codes_among, encode_labels
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.plain import PLAIN_MODELS
from pipeline.errors import ConfigError, FoldError
from pipeline.provenance import sha256_of_json


class HoldsModels(PatientEstimator):
    """A model with others inside: what it needs and reads follows from `models_inside`."""

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of code outside this package that the models inside need; empty if there is none."""
        hashes = [model.code_sha256(given) for model, given in cls.models_inside(parameters)]
        return sha256_of_json(hashes) if any(hashes) else ""

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return what the model reads itself and what the models inside read, over all choices of parameters."""
        own = Reads(frozenset(), frozenset(parameters.get("covariates", ())))
        return reduce(or_, (model.reads(given) for model, given in cls.models_inside(parameters)), own)


@dataclass(kw_only=True, eq=False, repr=False)
class Wrapper(HoldsModels):
    """A model with others of one kind inside, saved in folders below its own."""

    model: str = "attention_mil"
    """Kind of the inner model."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the inner model."""

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[PatientEstimator]]:
        """Return what may be inside, by kind."""
        return PLAIN_MODELS

    @classmethod
    def models_inside(
        cls, parameters: Mapping[str, Any]
    ) -> list[tuple[type[PatientEstimator], Mapping[str, Any]]]:
        """Return every model that may be inside, through all depths, with its parameters.

        Raises:
            ConfigError: a kind is unknown.
        """
        model = building.find(cls.kinds_inside(), str(parameters.get("model", cls.model)))
        found: list[tuple[type[PatientEstimator], Mapping[str, Any]]] = []
        for choice in _combinations(parameters.get("grid", {})):
            given = {**parameters.get("parameters", {}), **choice}
            found.append((model, given))
            found += model.models_inside(given)
        return found

    @property
    def is_savable(self) -> bool:  # type: ignore[override]  # depends on the inner model
        """Whether the inner model can be written without pickle."""
        return self.new_inner().is_savable

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the inner model, and the parts that it builds."""
        self.new_inner().try_building(patients, n_classes)

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Return whether the inner model has data of each patient (patients,)."""
        return (self.inner_ if hasattr(self, "inner_") else self.new_inner()).sees(patients)

    @abstractmethod
    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Train on `patients` and `tune`; set `inner_` and `classes_`."""

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, as the model inside gives them (patients, classes)."""
        return self.inner_.predict_tune(patients)

    def names_inside(self) -> Sequence[str]:
        """Return the folders of the models inside."""
        return ["inner"]

    def fitted_inside(self) -> Sequence[PatientEstimator]:
        """Return the fitted models inside, in the order of their folders."""
        return [self.inner_]

    def n_parameters(self) -> int | None:
        """Return how many numbers the models inside have learned; None where one is of trees."""
        return sum_or_none([model.n_parameters() for model in self.fitted_inside()])

    def set_fitted_inside(self, models: Sequence[PatientEstimator]) -> None:
        """Take over what `fitted_inside` of a fitted model returned."""
        (self.inner_,) = models

    def save(self, folder: Path) -> None:
        """Write the wrapper, and the models inside below it."""
        super().save(folder)
        for name, model in zip(self.names_inside(), self.fitted_inside(), strict=True):
            model.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote."""
        model = super().load(folder)
        model.set_fitted_inside([building.load(cls.kinds_inside(), folder / n) for n in model.names_inside()])
        return model

    def new_inner(
        self, changes: Mapping[str, Any] | None = None, random_state: int | None = None
    ) -> PatientEstimator:
        """Return the unfitted model inside, with some of its parameters changed, and a seed of its own if given.

        Raises:
            ConfigError: the kind, a parameter or a value is not allowed.
        """
        parameters = {**self.parameters, **(changes or {})}
        seed = seed_of(self.random_state if random_state is None else random_state)
        return building.build(self.kinds_inside(), self.model, parameters, seed)


@dataclass(kw_only=True, eq=False, repr=False)
class Grid(Wrapper):
    """The parameters of the lowest log loss on the tuning patients or on inner folds of the training patients."""

    kind: ClassVar[str] = "grid"

    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Parameter -> values to try, in all combinations."""
    chosen_on: Literal["tune", "inner folds"] = "tune"
    """Patients whose log loss decides. Inner folds of the training patients are more patients than the tuning ones, which then
    serve early stopping only; without tuning patients the inner folds always decide."""
    inner_folds: AtLeastTwo = 3
    """Number of those folds."""

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
        if tune is None or self.chosen_on == "inner folds":
            losses = [self._inner_loss(choice, patients, labels, tune) for choice in choices]
            best = int(np.argmin(losses))
            self.inner_ = self.new_inner(choices[best]).fit(patients, labels, tune=tune)
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

    def _inner_loss(
        self, choice: Mapping[str, Any], patients: Samples, labels: Labels, tune: TunePatients | None
    ) -> float:
        _, counts = np.unique(labels, return_counts=True)
        n_folds = min(self.inner_folds, int(counts.min()))
        if n_folds < 2:
            raise FoldError("a grid without tuning patients needs two training patients of each class")
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed_of(self.random_state))
        total = 0.0
        for train, held_out in splitter.split(np.zeros(len(labels)), labels):
            model = self.new_inner(choice).fit(Chosen(patients, train), labels[train], tune=tune)
            total += len(held_out) * log_loss(model, Chosen(patients, held_out), labels[held_out])
        return total / len(labels)


def sum_or_none(counts: Sequence[int | None]) -> int | None:
    """Return the sum; None where a count is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of a grid; for an empty grid, one that changes nothing."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def log_loss(model: PatientEstimator, patients: Samples, labels: Labels) -> float:
    """Return the mean of -log p of the true class."""
    codes = codes_among(model.classes_, labels)
    return float(-logs_of(model.predict_proba(patients))[np.arange(len(codes)), codes].mean())


def logs_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities, of 0 those of 1e-12."""
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities, 1e-12))
    return logs
