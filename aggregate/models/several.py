"""What the classifiers share that hold several different models: their parameters, building, reading and saving."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aggregate.models import building
from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients, seed_of
from aggregate.models.calibrated import Calibrated
from aggregate.models.class_codes import encode_labels
from aggregate.models.ensemble import Ensemble
from aggregate.models.plain import PLAIN_MODELS
from aggregate.models.wrappers import Grid, HoldsModels, sum_or_none
from pipeline.errors import ConfigError

KINDS_INSIDE: Mapping[str, type[PatientEstimator]] = {
    **PLAIN_MODELS,
    **{model.kind: model for model in (Grid, Ensemble, Calibrated)},
}
"""Kinds of the models inside."""


@dataclass(kw_only=True, eq=False, repr=False)
class SeveralModels(HoldsModels):
    """A model with others of several kinds inside, saved in folders below its own."""

    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name of each model inside, with its `kind` and its parameters."""

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[PatientEstimator]]:
        """Return what may stand inside, by kind."""
        return KINDS_INSIDE

    @classmethod
    def models_inside(
        cls, parameters: Mapping[str, Any]
    ) -> list[tuple[type[PatientEstimator], Mapping[str, Any]]]:
        """Return every model inside, through all depths, with its parameters.

        Raises:
            ConfigError: a kind is unknown.
        """
        found: list[tuple[type[PatientEstimator], Mapping[str, Any]]] = []
        for model in parameters.get("models", {}).values():
            inside = building.find(cls.kinds_inside(), str(model.get("kind")))
            given = {key: value for key, value in model.items() if key != "kind"}
            found += [(inside, given), *inside.models_inside(given)]
        return found

    @property
    def is_savable(self) -> bool:  # type: ignore[override]  # it depends on the models inside
        """Whether the models inside can be written without pickle."""
        return all(model.is_savable for model in getattr(self, "inside_", None) or self.new_inside())

    def new_inside(self, names: Sequence[str] | None = None) -> list[PatientEstimator]:
        """Return the unfitted models inside, or those of some names; the seed of each hangs on its place among all.

        Raises:
            ConfigError: there is none, or a kind, a parameter or a value is not allowed.
        """
        if not self.models:
            raise ConfigError(
                f"model {self.kind!r}: expected at least one model inside, found none; name some in `models`"
            )
        seeds = np.random.SeedSequence(seed_of(self.random_state)).generate_state(len(self.models))
        seed_of_model = dict(zip(self.models, seeds.tolist(), strict=True))
        wanted = self.models if names is None else names
        return [self._built(name, self.models[name], seed_of_model[name]) for name in wanted]

    def names_of_fitted(self) -> Sequence[str]:
        """Return the names of the models inside that are kept after `fit`."""
        return list(self.models)

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the models inside, and what they build."""
        for model in self.new_inside():
            model.try_building(patients, n_classes)

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Say of which patients one of the models inside sees anything (patients,)."""
        inside = getattr(self, "inside_", None) or self.new_inside()
        return np.asarray(np.stack([model.sees(patients) for model in inside]).any(axis=0))

    def n_parameters(self) -> int | None:
        """Return how many numbers the model and those inside have learned; None where one is of trees."""
        return sum_or_none([super().n_parameters(), *(model.n_parameters() for model in self.inside_)])

    def save(self, folder: Path) -> None:
        """Write the model, and the models inside below it."""
        super().save(folder)
        for number, model in enumerate(self.inside_):
            model.save(folder / f"model_{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote."""
        model = super().load(folder)
        folders = [folder / f"model_{number}" for number in range(len(model.names_of_fitted()))]
        model.inside_ = [building.load(cls.kinds_inside(), place) for place in folders]
        return model

    def _built(self, name: str, model: Mapping[str, Any], random_state: int) -> PatientEstimator:
        if "kind" not in model:
            found = ", ".join(model) or "nothing"
            raise ConfigError(f"model {self.kind!r}: models.{name}: expected a `kind`, found {found}")
        parameters = {key: value for key, value in model.items() if key != "kind"}
        return building.build(self.kinds_inside(), str(model["kind"]), parameters, random_state)


@dataclass(kw_only=True, eq=False, repr=False)
class FitsEach(SeveralModels):
    """Several models, each fitted by itself, whose probabilities are joined by a rule without anything to learn."""

    @abstractmethod
    def _joined(
        self, said: Sequence[NDArray[np.float64]], sees: Sequence[NDArray[np.bool_]]
    ) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes) from those of each model, and of which patients it sees anything."""

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit every model inside."""
        self.classes_, _ = encode_labels(labels)
        self.inside_ = [model.fit(patients, labels, tune=tune) for model in self.new_inside()]

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes)."""
        said = [model.predict_proba(patients) for model in self.inside_]
        return self._joined(said, [model.sees(patients) for model in self.inside_])

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, from those of the models inside (patients, classes)."""
        said = [model.predict_tune(patients) for model in self.inside_]
        return self._joined(said, [model.sees(patients) for model in self.inside_])

    def learned_arrays(self) -> Arrays:
        """Return nothing: the models inside keep what they learned."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take nothing."""
