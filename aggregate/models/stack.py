"""A stack (Wolpert: Stacked generalization, 1992): logistic regression on what several models say of each patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from aggregate.cohort.chosen import Chosen
from aggregate.models.base import Labels, Samples, TunePatients, seed_of
from aggregate.models.class_codes import encode_labels
from aggregate.models.logistic import LogisticOnVectors
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.several import SeveralModels
from aggregate.models.views import CovariateColumns
from pipeline.errors import FoldError

_LEAST = 0.01
"""A probability below this counts as this: of a hundred patients nobody knows a smaller one."""


@dataclass(kw_only=True, eq=False, repr=False)
class Stack(LogisticOnVectors, SeveralModels):
    """Ridge logistic regression on what several models say of each patient (Wolpert: Stacked generalization, 1992).

    Its inputs are the logarithms of their class probabilities. It learns from those of training patients that no model
    inside had learned from, of inner folds; the models inside are then fitted on all training patients. The tuning patients
    serve the models inside as they do by themselves, and the regression never sees them.
    """

    kind: ClassVar[str] = "stack"
    is_scaled: ClassVar[bool] = False
    """The class shares of a model that knows nothing differ a little between folds, against the patients held out; brought
    to a spread of 1 they would be taken for knowledge."""

    inner_folds: AtLeastTwo = 5
    """Folds within the training patients, of the models' probabilities and of the choice of the strength; fewer where the
    rarest class has fewer patients."""

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


def _side_by_side(said: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the logarithms of the class probabilities of several models (patients, models x classes)."""
    return np.log(np.maximum(np.concatenate(said, axis=1), _LEAST))
