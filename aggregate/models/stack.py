"""A stack (Wolpert: Stacked generalization, 1992): logistic regression on what several models say of each patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.patient import Reads
from aggregate.models import building
from aggregate.models.base import Labels, PatientEstimator, Samples, TunePatients, seed_of
from aggregate.models.calibrated import Calibrated
from aggregate.models.class_codes import encode_labels
from aggregate.models.ensemble import Ensemble
from aggregate.models.logistic import LogisticOnVectors
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.plain import PLAIN_MODELS
from aggregate.models.views import CovariateColumns
from aggregate.models.wrappers import Grid
from pipeline.errors import ConfigError, FoldError
from pipeline.provenance import sha256_of_json

KINDS_INSIDE: Mapping[str, type[PatientEstimator]] = {
    **PLAIN_MODELS,
    **{model.kind: model for model in (Grid, Ensemble, Calibrated)},
}
"""What may stand inside, by kind."""
_LEAST = 0.01
"""A probability below this counts as this: of a hundred patients nobody knows a smaller one."""


@dataclass(kw_only=True, eq=False, repr=False)
class Stack(LogisticOnVectors):
    """Ridge logistic regression on what several models say of each patient (Wolpert: Stacked generalization, 1992).

    Its inputs are the logarithms of their class probabilities. It learns from those of training patients that no model
    inside had learned from, of inner folds; the models inside are then fitted on all training patients. The tuning patients
    serve the models inside as they do by themselves, and the regression never sees them.
    """

    kind: ClassVar[str] = "stack"
    is_scaled: ClassVar[bool] = False
    """The class shares of a model that knows nothing differ a little between folds, against the patients held out; brought
    to a spread of 1 they would be taken for knowledge."""

    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> a model inside: its `kind` and its parameters."""
    inner_folds: AtLeastTwo = 5
    """Folds within the training patients, of the models' probabilities and of the choice of the strength; fewer where the
    rarest class has fewer patients."""

    @classmethod
    def code_sha256(cls, parameters: Mapping[str, Any]) -> str:
        """Return the SHA-256 of code outside this package that the models inside need, or nothing."""
        hashes = [model.code_sha256(given) for model, given in cls.models_inside(parameters)]
        return sha256_of_json(hashes) if any(hashes) else ""

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
            inside = building.find(KINDS_INSIDE, str(model.get("kind")))
            given = {key: value for key, value in model.items() if key != "kind"}
            found += [(inside, given), *inside.models_inside(given)]
        return found

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return what the models inside read."""
        none = Reads(frozenset(), frozenset(parameters.get("covariates", ())))
        return reduce(or_, (model.reads(given) for model, given in cls.models_inside(parameters)), none)

    @property
    def is_savable(self) -> bool:  # type: ignore[override]  # of a stack it hangs on what is inside
        """Whether the models inside can be written without pickle."""
        return all(model.is_savable for model in self.new_inside())

    def new_inside(self) -> list[PatientEstimator]:
        """Return the unfitted models inside.

        Raises:
            ConfigError: there is none, or a kind, a parameter or a value is not allowed.
        """
        if not self.models:
            raise ConfigError(
                "model 'stack': expected at least one model inside, found none; name some in `models`"
            )
        seeds = np.random.SeedSequence(seed_of(self.random_state)).generate_state(len(self.models))
        return [
            _built(name, model, int(s)) for (name, model), s in zip(self.models.items(), seeds, strict=True)
        ]

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Build the models inside, and what they build."""
        for model in self.new_inside():
            model.try_building(patients, n_classes)

    def sees(self, patients: Samples) -> NDArray[np.bool_]:
        """Say of which patients one of the models inside sees anything (patients,)."""
        inside = getattr(self, "inside_", None) or self.new_inside()
        return np.asarray(np.stack([model.sees(patients) for model in inside]).any(axis=0))

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, from those of the models inside (patients, classes)."""
        inputs = _side_by_side([model.predict_tune(patients) for model in self.inside_])
        return self.probabilities_of(self._with_covariates(inputs, patients))

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes)."""
        inputs = _side_by_side([model.predict_proba(patients) for model in self.inside_])
        return self.probabilities_of(self._with_covariates(inputs, patients))

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Fit the regression on out-of-fold probabilities, then the models inside on all of `patients`."""
        _, codes = encode_labels(labels)
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, patients)
        inputs = self._out_of_fold(patients, labels, codes, tune)
        self.fit_vectors(self._with_covariates(inputs, patients), labels)
        self.inside_ = [model.fit(patients, labels, tune=tune) for model in self.new_inside()]

    def _with_covariates(self, inputs: NDArray[np.float64], patients: Samples) -> NDArray[np.float64]:
        return np.hstack([inputs, self.covariate_columns_.columns(patients)])

    def _out_of_fold(
        self, patients: Samples, labels: Labels, codes: NDArray[np.intp], tune: TunePatients | None
    ) -> NDArray[np.float64]:
        """Return class probabilities from models that did not learn from the patient (patients, models x classes)."""
        counts = np.bincount(codes)
        if counts.min() < 2:
            rare = np.unique(labels)[int(counts.argmin())]
            raise FoldError(
                f"model 'stack': class {rare} has one training patient, too few for inner folds; expected at least 2: use "
                "fewer folds, or merge classes"
            )
        folds = StratifiedKFold(
            min(self.inner_folds, int(counts.min())), shuffle=True, random_state=seed_of(self.random_state)
        )
        said = np.empty((len(self.models), len(codes), len(counts)))
        for train, held_out in folds.split(np.zeros(len(codes)), codes):
            for number, model in enumerate(self.new_inside()):
                model.fit(Chosen(patients, train), labels[train], tune=tune)
                said[number, held_out] = model.predict_proba(Chosen(patients, held_out))
        return _side_by_side(list(said))

    def save(self, folder: Path) -> None:
        """Write the stack, and the models inside below it."""
        super().save(folder)
        for number, model in enumerate(self.inside_):
            model.save(folder / f"model_{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that `save` wrote."""
        stack = super().load(folder)
        folders = [folder / f"model_{number}" for number in range(len(stack.models))]
        stack.inside_ = [building.load(KINDS_INSIDE, place) for place in folders]
        return stack


def _side_by_side(said: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the logarithms of the class probabilities of several models (patients, models x classes)."""
    return np.log(np.maximum(np.concatenate(said, axis=1), _LEAST))


def _built(name: str, model: Mapping[str, Any], random_state: int) -> PatientEstimator:
    parameters = {key: value for key, value in model.items() if key != "kind"}
    if "kind" not in model:
        raise ConfigError(
            f"model 'stack': models.{name}: expected a `kind`, found {', '.join(model) or 'nothing'}"
        )
    return building.build(KINDS_INSIDE, str(model["kind"]), parameters, random_state)
