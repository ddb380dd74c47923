"""What a score says of a patient: risk and survival, a number, or probabilities of grades.

survival    S(t) = exp(-H(t) exp(f - c))     H: Breslow's cumulative hazard of the training patients, c: their mean score
regression  number = m + s f                 m, s: mean and deviation of the training patients, or 0 and 1
ordinal     P(grade <= k) = expit(a_k - f)   proportional odds, with cut-offs a_k that rise
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from aggregate.models.base import Arrays, Labels
from aggregate.models.parameters import CountFromZero
from aggregate.outcomes.models.base import Floats, OutcomeEstimator
from aggregate.outcomes.outcome import SURVIVAL_TYPE, Values
from pipeline.errors import FoldError, SampleError

_OUTPUT = "output."


@dataclass(kw_only=True, eq=False, repr=False)
class ScoreOutput(OutcomeEstimator):
    """A model that gives each patient a score, from which its columns follow."""

    @abstractmethod
    def learn_output(self, scores: Floats, values: Values) -> None:
        """Learn from the scores (n,) of the training patients what makes columns of a score."""

    @abstractmethod
    def columns_of(self, scores: Floats) -> Floats:
        """Return the columns of the scores (n, columns)."""

    @abstractmethod
    def output_arrays(self) -> Arrays:
        """Return what `learn_output` learned."""

    @abstractmethod
    def set_output_arrays(self, arrays: Arrays) -> None:
        """Restore what `output_arrays` returned."""

    def marked_output(self) -> Arrays:
        """Return what `learn_output` learned, under names that no other array of the model has."""
        return {f"{_OUTPUT}{name}": array for name, array in self.output_arrays().items()}

    def unmarked_output(self, arrays: Arrays) -> Arrays:
        """Restore what `marked_output` returned, and return the other arrays."""
        own = {k.removeprefix(_OUTPUT): a for k, a in arrays.items() if k.startswith(_OUTPUT)}
        self.set_output_arrays(own)
        return {name: array for name, array in arrays.items() if not name.startswith(_OUTPUT)}


@dataclass(kw_only=True, eq=False, repr=False)
class SurvivalOutput(ScoreOutput):
    """Scores as logarithms of hazard ratios."""

    task: ClassVar[str] = "survival"

    times: tuple[float, ...] = ()
    """Times at which survival is predicted; a run sets them from [aggregate.outcome] horizons."""

    def checked_outcome(self, values: Labels) -> Values:
        """Return event and time of each patient, times above 0."""
        values = np.asarray(values)
        if values.dtype != SURVIVAL_TYPE:
            raise SampleError(f"expected outcomes of the type {SURVIVAL_TYPE}, found {values.dtype}")
        faulty = np.flatnonzero(~(np.isfinite(values["time"]) & (values["time"] > 0)))
        if len(faulty):
            raise SampleError(
                f"outcome number {faulty[0]}: expected a time above 0, found {values['time'][faulty[0]]}"
            )
        return values

    def without_data(self, values: Values) -> Floats:
        """Return risk 0 and the training patients' survival at each time, by Kaplan and Meier."""
        # An extra, so that the other tasks run without it.
        from sksurv.nonparametric import kaplan_meier_estimator  # noqa: PLC0415

        times, survival = kaplan_meier_estimator(values["event"], values["time"])
        return np.array([0.0, *_steps(self.times, times, survival, before=1.0)])

    def main_of(self, columns: Floats) -> Floats:
        """Return the risks."""
        return columns[:, 0]

    def learn_output(self, scores: Floats, values: Values) -> None:
        """Learn the mean score and Breslow's cumulative hazard."""
        from sksurv.linear_model.coxph import BreslowEstimator  # noqa: PLC0415

        self.centre_ = float(scores.mean())
        baseline = BreslowEstimator().fit(scores - self.centre_, values["event"], values["time"])
        hazard = baseline.cum_baseline_hazard_
        self.hazard_ = _steps(self.times, hazard.x, hazard.y, before=0.0)

    def columns_of(self, scores: Floats) -> Floats:
        """Return the risk, and the survival at each time."""
        risk = scores - self.centre_
        return np.column_stack([risk, np.exp(-self.hazard_ * np.exp(risk)[:, None])])

    def output_arrays(self) -> Arrays:
        """Return mean score and cumulative hazard at each time."""
        return {"centre": np.array([self.centre_]), "hazard": self.hazard_}

    def set_output_arrays(self, arrays: Arrays) -> None:
        """Restore mean score and cumulative hazard."""
        self.centre_, self.hazard_ = float(arrays["centre"][0]), arrays["hazard"]


def _steps(wanted: tuple[float, ...], times: Floats, values: Floats, *, before: float) -> Floats:
    """Return a step function at some times; `before` its first step."""
    places = np.searchsorted(times, wanted, side="right")
    return np.concatenate([[before], values])[places]


@dataclass(kw_only=True, eq=False, repr=False)
class RegressionOutput(ScoreOutput):
    """Scores as standardised numbers."""

    task: ClassVar[str] = "regression"

    def checked_outcome(self, values: Labels) -> Values:
        """Return the numbers, all finite."""
        numbers = np.asarray(values, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise SampleError("expected finite numbers as outcomes")
        return numbers

    def without_data(self, values: Values) -> Floats:
        """Return the mean."""
        return np.array([values.mean()])

    def main_of(self, columns: Floats) -> Floats:
        """Return the numbers."""
        return columns[:, 0]

    def standardised(self, values: Values) -> Floats:
        """Learn mean and deviation of the training patients, and return their numbers without them."""
        deviation = float(values.std())
        self.centre_, self.spread_ = float(values.mean()), deviation if deviation > 0 else 1.0
        return self.restandardised(values)

    def restandardised(self, values: Values) -> Floats:
        """Return other numbers on the scale of the training patients."""
        return np.asarray((values - self.centre_) / self.spread_, dtype=np.float64)

    def learn_output(self, scores: Floats, values: Values) -> None:
        """Learn nothing: mean and deviation were learned before the fit."""

    def columns_of(self, scores: Floats) -> Floats:
        """Return the numbers."""
        return (self.centre_ + self.spread_ * scores)[:, None]

    def output_arrays(self) -> Arrays:
        """Return mean and deviation."""
        return {"scale": np.array([self.centre_, self.spread_])}

    def set_output_arrays(self, arrays: Arrays) -> None:
        """Restore mean and deviation."""
        self.centre_, self.spread_ = map(float, arrays["scale"])


@dataclass(kw_only=True, eq=False, repr=False)
class OrdinalOutput(ScoreOutput):
    """Scores as log odds of a higher grade (McCullagh: Regression models for ordinal data, 1980)."""

    task: ClassVar[str] = "ordinal"

    grades: CountFromZero = 0
    """Number of grades; a run sets it from [aggregate.outcome] order."""

    def checked_outcome(self, values: Labels) -> Values:
        """Return the codes of the grades."""
        codes = np.asarray(values)
        if not np.issubdtype(codes.dtype, np.integer) or codes.min() < 0 or codes.max() >= self.grades:
            raise SampleError(
                f"expected codes of {self.grades} grades as outcomes, found {np.unique(codes).tolist()}"
            )
        return codes.astype(np.intp)

    def without_data(self, values: Values) -> Floats:
        """Return the share of each grade."""
        return self.shares(values)

    def shares(self, values: Values) -> Floats:
        """Return the share of each grade (grades,).

        Raises:
            FoldError: a grade has no patient.
        """
        shares = np.bincount(values, minlength=self.grades) / len(values)
        if not shares.all():
            raise FoldError(
                f"no training patient has grade number {int(shares.argmin()) + 1} of {self.grades}"
            )
        return np.asarray(shares, dtype=np.float64)

    def main_of(self, columns: Floats) -> Floats:
        """Return the code of the most probable grade."""
        return np.asarray(columns.argmax(axis=1), dtype=np.float64)

    def learn_output(self, scores: Floats, values: Values) -> None:
        """Learn nothing: the cut-offs are fitted with the scores."""

    def columns_of(self, scores: Floats) -> Floats:
        """Return the probability of each grade."""
        below = expit(self.cuts_ - scores[:, None])
        ends = np.zeros((len(scores), 1)), np.ones((len(scores), 1))
        return np.diff(np.hstack([ends[0], below, ends[1]]), axis=1)

    def output_arrays(self) -> Arrays:
        """Return the cut-offs (grades - 1,)."""
        return {"cuts": self.cuts_}

    def set_output_arrays(self, arrays: Arrays) -> None:
        """Restore the cut-offs."""
        self.cuts_ = arrays["cuts"]
