"""What is said of every patient alike: what a model has to beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from aggregate.cohort.patient import Reads
from aggregate.models.base import Arrays, Labels, Samples, TunePatients
from aggregate.outcomes.models.base import Floats
from aggregate.outcomes.models.outputs import OrdinalOutput, RegressionOutput, ScoreOutput, SurvivalOutput


@dataclass(kw_only=True, eq=False, repr=False)
class Constant(ScoreOutput):
    """The same for every patient."""

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        del patients, tune
        self.keep_columns(self.checked_outcome(labels))

    def _predict_patients(self, patients: Samples) -> Floats:
        return np.tile(self.class_shares_, (len(patients), 1))

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return empty sets: only the outcomes are read."""
        del parameters
        return Reads(frozenset(), frozenset())

    def learned_arrays(self) -> Arrays:
        """Return nothing: what is said of every patient is saved with every model."""
        return {}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore nothing."""


@dataclass(kw_only=True, eq=False, repr=False)
class KaplanMeier(Constant, SurvivalOutput):
    """The survival of the training patients, by Kaplan and Meier, the same for every patient."""

    kind: ClassVar[str] = "kaplan_meier"


@dataclass(kw_only=True, eq=False, repr=False)
class MeanNumber(Constant, RegressionOutput):
    """The mean of the training patients, the same for every patient."""

    kind: ClassVar[str] = "mean_number"


@dataclass(kw_only=True, eq=False, repr=False)
class GradeShares(Constant, OrdinalOutput):
    """The shares of the grades among the training patients, the same for every patient."""

    kind: ClassVar[str] = "grade_shares"
