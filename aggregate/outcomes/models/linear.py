"""Scores that are linear in one vector per patient, with a ridge penalty whose strength is chosen within the training patients.

Missing values are the mean of the training patients, and every number is brought to a spread of 1. With more numbers than
patients the model is fitted on all principal components of the training patients: under a ridge penalty the solution is the same.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from aggregate.cohort.patient import Reads
from aggregate.models.base import Arrays, Labels, Samples, Tune, TunePatients, seed_of
from aggregate.models.baselines import TumourSize
from aggregate.models.parameters import AtLeastTwo, Positives, StatisticName
from aggregate.models.pooling import pool_phases, pool_phases_and_differences
from aggregate.models.views import CovariateColumns, SeenBags
from aggregate.outcomes.models.base import BagOutcomeEstimator, Floats
from aggregate.outcomes.models.cumulative_logits import fit_cumulative_logits, log_likelihood_of_grades
from aggregate.outcomes.models.outputs import OrdinalOutput, RegressionOutput, ScoreOutput, SurvivalOutput
from aggregate.outcomes.models.partial_likelihood import likelihood_of_others
from aggregate.outcomes.outcome import Values
from pipeline.bags import Bag
from pipeline.errors import ConfigError, TrainingError

_FEW_NUMBERS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MANY_NUMBERS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(kw_only=True, eq=False, repr=False)
class LinearOutcome(ScoreOutput):
    """A linear score of a vector per patient."""

    strengths: Positives = _FEW_NUMBERS
    """Candidates of the inverse strength of the ridge penalty; smaller means stronger. Chosen by the log-likelihood of the
    training patients who are held out in turn."""
    inner_folds: AtLeastTwo = 5
    """Folds of that cross-validation; fewer if the training patients do not do."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table that are read."""

    @abstractmethod
    def fit_weights(self, x: Floats, values: Values) -> Floats:
        """Return the weights (numbers,) of standardised vectors (n, numbers); what else is learned is kept."""

    def fit_vectors(self, vectors: Floats, values: Values) -> None:
        """Train on one vector per patient (n, d), NaN for missing values."""
        steps = [("impute", SimpleImputer(keep_empty_features=True)), ("standardise", StandardScaler())]
        if vectors.shape[1] > len(vectors):
            steps.append(("components", PCA(svd_solver="full")))
        pipeline = Pipeline(steps)
        # If every number is constant, PCA divides by a variance of 0 for the explained variance, which is not used.
        with np.errstate(invalid="ignore"):
            x = pipeline.fit_transform(vectors)
        weights = self.fit_weights(x, values)
        if "components" in pipeline.named_steps:  # their mean is 0, since the numbers are standardised
            weights = weights @ pipeline["components"].components_
        self.weights_ = weights
        self.filling_ = pipeline["impute"].statistics_
        self.mean_, self.std_ = pipeline["standardise"].mean_, pipeline["standardise"].scale_
        self.learn_output(self.scores_of(vectors), values)

    def scores_of(self, vectors: Floats) -> Floats:
        """Return the scores (n,) of one vector per patient (n, d)."""
        filled = np.where(np.isnan(vectors), self.filling_, vectors)
        return np.asarray((filled - self.mean_) / self.std_ @ self.weights_, dtype=np.float64)

    def best_strength(
        self,
        folds: Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]],
        gain: Callable[[float, Any, Any], float],
    ) -> float:
        """Return the strength with the highest sum over folds of what `gain` gives for (strength, training, held out).

        Without folds the middle one.
        """
        dealt = list(folds)
        if not dealt or len(self.strengths) == 1:
            return sorted(self.strengths)[len(self.strengths) // 2]
        sums = {c: sum(gain(c, train, held) for train, held in dealt) for c in sorted(self.strengths)}
        return max(sums, key=lambda strength: sums[strength])

    def inner_split(self, codes: NDArray[np.intp] | None, n: int) -> Iterator[tuple[Any, Any]]:
        """Yield the folds of the inner cross-validation: (training, held out), even in the codes where these are given."""
        seed = seed_of(self.random_state)
        if codes is None:
            n_folds = min(self.inner_folds, n)
            yield from (
                KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n)) if n_folds > 1 else ()
            )
            return
        n_folds = min(self.inner_folds, int(np.bincount(codes).min()))
        if n_folds > 1:
            yield from StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n), codes)

    def learned_arrays(self) -> Arrays:
        """Return fill values, scaling and weights (d,), the words of each covariate, and what makes columns of a score."""
        learned = {name: getattr(self, f"{name}_") for name in ("filling", "mean", "std", "weights")}
        return {**learned, "covariates": self.covariate_columns_.as_array(), **self.marked_output()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore what `learned_arrays` returned."""
        own = self.unmarked_output(arrays)
        for name in ("filling", "mean", "std", "weights"):
            setattr(self, f"{name}_", own[name])
        self.covariate_columns_ = CovariateColumns.of_array(own["covariates"])


class RidgeCox(LinearOutcome, SurvivalOutput):
    """Cox's proportional hazards with a ridge penalty, ties by Efron (scikit-survival).

    A strength at which Newton's method does not converge, as where the penalty is too weak for the numbers, is passed over.
    """

    def fit_weights(self, x: Floats, values: Values) -> Floats:
        """Fit the weights at the strength of the highest cross-validated partial likelihood (Verweij and van Houwelingen 1993)."""

        def gain(strength: float, train: NDArray[np.intp], held: NDArray[np.intp]) -> float:
            weights = _cox(x[train], values[train], strength)
            is_other = np.isin(np.arange(len(values)), held)
            return -np.inf if weights is None else likelihood_of_others(x @ weights, values, is_other)

        folds = self.inner_split(values["event"].astype(np.intp), len(values))
        best = self.best_strength(folds, gain)
        for strength in (c for c in sorted(self.strengths, reverse=True) if c <= best):
            weights = _cox(x, values, strength)
            if weights is not None:
                self.strength_ = strength
                return weights
        raise TrainingError(
            f"model {self.kind!r}: Cox regression converges at none of the strengths up to {best:g}; add smaller ones to `strengths`"
        )


def _cox(x: Floats, values: Values, strength: float) -> Floats | None:
    """Return the weights (numbers,), or None where Newton's method does not converge."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model = CoxPHSurvivalAnalysis(alpha=1 / strength, ties="efron").fit(x, values)
        except (ConvergenceWarning, ValueError, ArithmeticError):  # of infinite or not finite steps
            return None
    return np.asarray(model.coef_, dtype=np.float64)


class RidgeRegression(LinearOutcome, RegressionOutput):
    """Ridge regression (scikit-learn); its strength by the error of each patient left out."""

    def fit_weights(self, x: Floats, values: Values) -> Floats:
        """Fit the weights."""
        model = RidgeCV(alphas=[1 / c for c in self.strengths]).fit(x, self.standardised(values))
        self.strength_ = 1 / float(model.alpha_)
        return np.asarray(model.coef_, dtype=np.float64)


class ProportionalOdds(LinearOutcome, OrdinalOutput):
    """Proportional odds with a ridge penalty on the weights."""

    def fit_weights(self, x: Floats, values: Values) -> Floats:
        """Fit weights and cut-offs at the strength of the highest likelihood of the grades held out."""
        self.shares(values)

        def gain(strength: float, train: NDArray[np.intp], held: NDArray[np.intp]) -> float:
            weights, cuts = fit_cumulative_logits(x[train], values[train], 1 / strength, self.grades)
            return log_likelihood_of_grades(x[held] @ weights, values[held], cuts)

        self.strength_ = self.best_strength(self.inner_split(values, len(values)), gain)
        weights, self.cuts_ = fit_cumulative_logits(x, values, 1 / self.strength_, self.grades)
        return weights


@dataclass(kw_only=True, eq=False, repr=False)
class PooledLinear(LinearOutcome, BagOutcomeEstimator):
    """A linear score of one vector per bag."""

    def vectors(self, bags: Sequence[Bag]) -> Floats:
        """Return one vector per bag (bags, d), NaN for missing values."""
        raise NotImplementedError

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        del tune
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        self.fit_vectors(self._with_covariates(bags), labels)

    def _try_building(self, bag: Bag, n_classes: int) -> None:
        del n_classes
        self.vectors([bag])

    def _predict_proba(self, bags: SeenBags) -> Floats:
        return self.columns_of(self.scores_of(self._with_covariates(bags)))

    def _with_covariates(self, bags: SeenBags) -> Floats:
        return np.hstack([self.vectors(bags), self.covariate_columns_.columns(bags.patients)])


@dataclass(kw_only=True, eq=False, repr=False)
class PooledPhases(PooledLinear):
    """A linear score of statistics of each phase."""

    statistics: tuple[StatisticName, ...] = ("mean",)
    """Statistics of each feature over the slices of each phase."""
    differences: bool = True
    """Add the difference between the means of every two phases; washout is one."""
    strengths: Positives = _MANY_NUMBERS
    """As in every linear model here, but a bag has thousands of features."""

    def vectors(self, bags: Sequence[Bag]) -> Floats:
        """Return the statistics of each phase, NaN where there is none (bags, d)."""
        pool = pool_phases_and_differences if self.differences else pool_phases
        return pool(bags, self.statistics)


@dataclass(kw_only=True, eq=False, repr=False)
class SizeAlone(PooledLinear):
    """A linear score of the size of the tumour."""

    vectors = TumourSize.vectors


@dataclass(kw_only=True, eq=False, repr=False)
class CovariatesAlone(LinearOutcome):
    """A linear score of columns of the cohort table; a patient with all of them missing is one of whom nothing is seen."""

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        del tune
        if not self.covariates:
            raise ConfigError(
                f"model {self.kind!r}: expected at least one column in `covariates`, found none"
            )
        values = self.checked_outcome(labels)
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, patients)
        self.fit_vectors(self.covariate_columns_.columns(patients), values)
        self.keep_columns(values)

    def _predict_patients(self, patients: Samples) -> Floats:
        told = self.covariate_columns_.is_told(patients)[:, None]
        found = self.columns_of(self.scores_of(self.covariate_columns_.columns(patients)))
        return np.where(told, found, self.class_shares_)

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return the columns of the cohort table; no bag is read."""
        return Reads(frozenset(), super().reads(parameters).covariates)

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Check that the first patient has the columns."""
        del n_classes
        if len(patients):
            CovariateColumns.learned(self.covariates, patients[:1])


@dataclass(kw_only=True, eq=False, repr=False)
class Cox(PooledPhases, RidgeCox):
    """Ridge Cox regression on statistics of each phase and covariates."""

    kind: ClassVar[str] = "cox"


@dataclass(kw_only=True, eq=False, repr=False)
class TumourSizeCox(SizeAlone, RidgeCox):
    """Cox regression on the logarithms of the largest tumour area and of the tumour volume."""

    kind: ClassVar[str] = "tumour_size_cox"


@dataclass(kw_only=True, eq=False, repr=False)
class CovariatesCox(CovariatesAlone, RidgeCox):
    """Cox regression on columns of the cohort table."""

    kind: ClassVar[str] = "covariates_cox"


@dataclass(kw_only=True, eq=False, repr=False)
class Ridge(PooledPhases, RidgeRegression):
    """Ridge regression on statistics of each phase and covariates."""

    kind: ClassVar[str] = "ridge"


@dataclass(kw_only=True, eq=False, repr=False)
class TumourSizeRidge(SizeAlone, RidgeRegression):
    """Ridge regression on the logarithms of the largest tumour area and of the tumour volume."""

    kind: ClassVar[str] = "tumour_size_ridge"


@dataclass(kw_only=True, eq=False, repr=False)
class CovariatesRidge(CovariatesAlone, RidgeRegression):
    """Ridge regression on columns of the cohort table."""

    kind: ClassVar[str] = "covariates_ridge"


@dataclass(kw_only=True, eq=False, repr=False)
class Odds(PooledPhases, ProportionalOdds):
    """Proportional odds on statistics of each phase and covariates."""

    kind: ClassVar[str] = "proportional_odds"


@dataclass(kw_only=True, eq=False, repr=False)
class TumourSizeOdds(SizeAlone, ProportionalOdds):
    """Proportional odds on the logarithms of the largest tumour area and of the tumour volume."""

    kind: ClassVar[str] = "tumour_size_odds"


@dataclass(kw_only=True, eq=False, repr=False)
class CovariatesOdds(CovariatesAlone, ProportionalOdds):
    """Proportional odds on columns of the cohort table."""

    kind: ClassVar[str] = "covariates_odds"
