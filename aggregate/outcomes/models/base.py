"""Base class of the models of an outcome: they see patients as classifiers do, and say something else of them."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregate.models.base import BagEstimator, Labels, PatientEstimator, Samples, TunePatients
from aggregate.models.samples import BagCheck, BagShape
from aggregate.outcomes.outcome import Values
from pipeline.errors import FoldError

Floats = NDArray[np.float64]


@dataclass(kw_only=True, eq=False, repr=False)
class OutcomeEstimator(PatientEstimator):
    """A model of an outcome: `fit` takes the outcomes in the place of labels, `predict_proba` returns the outcome's columns.

    The columns are risk and probabilities of survival, a number, or the probabilities of the grades
    (aggregate/outcomes/outcome.py).
    """

    @abstractmethod
    def checked_outcome(self, values: Labels) -> Values:
        """Return the outcomes as the model takes them.

        Raises:
            SampleError: they are no outcomes of this task.
        """

    @abstractmethod
    def without_data(self, values: Values) -> Floats:
        """Return the columns of a patient of whom nothing is seen, from the outcomes of the training patients (columns,)."""

    @abstractmethod
    def main_of(self, columns: Floats) -> Floats:
        """Return the one number of each patient that stands for the columns (n,)."""

    def predict(self, patients: Samples) -> Floats:
        """Return the risk, the number, or the code of the most probable grade of each patient (n,)."""
        return self.main_of(self.predict_proba(patients))

    def keep_columns(self, values: Values) -> None:
        """Note, at the end of a fit, what is said of a patient of whom nothing is seen, and the number of columns."""
        self.class_shares_ = self.without_data(values)
        self.classes_ = np.arange(len(self.class_shares_))


@dataclass(kw_only=True, eq=False, repr=False)
class BagOutcomeEstimator(OutcomeEstimator, BagEstimator):
    """A model of an outcome that reads one bag per patient."""

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> BagShape | None:
        check = BagCheck()
        bags, known = self._seen_with_labels(patients, self.checked_outcome(labels), check)
        if not len(known):
            raise FoldError(f"none of the {len(labels)} training patients has a bag that this model reads")
        tuning = None
        if tune is not None:
            tuning = self._seen_with_labels(tune[0], self.checked_outcome(tune[1]), check)
        self._fit(bags, known, tuning if tuning is not None and len(tuning[1]) else None)
        self.keep_columns(known)
        return check.shape
