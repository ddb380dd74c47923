"""Logistic regression (a scikit-learn pipeline) on one vector per patient: pooled features and covariates."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from aggregate.models.base import Arrays, BagEstimator, Labels, PatientEstimator, Tune, seed_of, softmax
from aggregate.models.class_codes import encode_labels
from aggregate.models.parameters import AtLeastTwo, ClassWeight, Positives
from aggregate.models.views import CovariateColumns, SeenBags
from pipeline.bags import Bag

Floats = NDArray[np.float64]
_MIDDLING_STRENGTH = 1e-2


@dataclass(kw_only=True, eq=False, repr=False)
class LogisticOnVectors(PatientEstimator):
    """Multinomial ridge (L2) logistic regression on a standardised vector per patient.

    Missing values (NaN) are replaced by the mean of the training patients. With more features than patients, the
    regression is fitted on all principal components of the training patients: ridge regression has the same solution
    there, and takes a tenth of the time (512 features, 96 patients).
    """

    is_scaled: ClassVar[bool] = True
    """Whether every number of a vector is brought to a spread of 1."""

    strengths: Positives = (1e-3, 1e-2, 1e-1, 1.0)
    """Candidate values of C, chosen by the cross-validated log loss; smaller means stronger regularisation."""
    inner_folds: AtLeastTwo = 5
    """Folds of that cross-validation; fewer if the rarest class has fewer training patients."""
    class_weight: ClassWeight = "balanced"
    """Whether classes are weighted inversely to their number of training patients."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table used in addition to the bags."""

    def fit_vectors(self, vectors: Floats, labels: Labels) -> Self:
        """Train on one vector per patient (n, d), NaN for missing values."""
        classes, codes = encode_labels(labels)
        pipeline = self.new_pipeline(codes, *vectors.shape)
        # If every feature is constant, PCA divides by a variance of 0 for the explained variance, which is not used.
        with np.errstate(invalid="ignore"):
            self._learn(pipeline.fit(vectors, codes))
        self.classes_ = classes
        return self

    def probabilities_of(self, vectors: Floats) -> Floats:
        """Return class probabilities (n, classes) of one vector per patient (n, d)."""
        standardised = (np.where(np.isnan(vectors), self.filling_, vectors) - self.mean_) / self.std_
        return softmax(standardised @ self.weights_ + self.bias_)

    def new_pipeline(self, codes: NDArray[np.intp], n_patients: int, n_features: int) -> Pipeline:
        """Return the unfitted scikit-learn pipeline for `n_patients` patients with the given class codes."""
        steps = [
            ("impute", SimpleImputer(keep_empty_features=True)),
            ("standardise", StandardScaler(with_std=self.is_scaled)),
        ]
        if n_features > n_patients:
            steps.append(("components", PCA(svd_solver="full")))
        return Pipeline([*steps, ("regress", self._regression(codes))])

    def learned_arrays(self) -> Arrays:
        """Return fill values, mean and std (d,), weights (d, classes), bias (classes,), and words of each covariate."""
        names = ("filling", "mean", "std", "weights", "bias")
        learned = {name: getattr(self, f"{name}_") for name in names}
        return {**learned, "covariates": self.covariate_columns_.as_array()}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore fill values, scaling, weights, bias and words."""
        for name in ("filling", "mean", "std", "weights", "bias"):
            setattr(self, f"{name}_", arrays[name])
        self.covariate_columns_ = CovariateColumns.of_array(arrays["covariates"])

    def _regression(self, codes: NDArray[np.intp]) -> LogisticRegression:
        weight = "balanced" if self.class_weight == "balanced" else None
        n_folds = min(self.inner_folds, int(np.bincount(codes).min()))
        if len(self.strengths) == 1 or n_folds < 2:
            strength = min(self.strengths, key=lambda value: abs(np.log(value / _MIDDLING_STRENGTH)))
            return LogisticRegression(C=strength, class_weight=weight, max_iter=1000)
        return LogisticRegressionCV(
            Cs=list(self.strengths),
            l1_ratios=(0.0,),
            cv=StratifiedKFold(n_folds, shuffle=True, random_state=seed_of(self.random_state)),
            scoring="neg_log_loss",
            class_weight=weight,
            max_iter=1000,
            use_legacy_attributes=False,
        )

    def _learn(self, pipeline: Pipeline) -> None:
        """Return a fitted pipeline as arrays, with the regression weights on the standardised features."""
        regression, scaler = pipeline["regress"], pipeline["standardise"]
        weights, bias = regression.coef_, regression.intercept_
        if "components" in pipeline.named_steps:
            components = pipeline["components"]
            weights = weights @ components.components_
            bias = bias - weights @ components.mean_
        if len(weights) == 1:  # for two classes scikit-learn stores the weights of the second only
            weights, bias = np.stack([0 * weights[0], weights[0]]), np.array([0.0, bias[0]])
        self.filling_ = pipeline["impute"].statistics_
        self.mean_ = scaler.mean_
        self.std_ = scaler.scale_ if self.is_scaled else np.ones_like(scaler.mean_)
        self.weights_, self.bias_ = weights.T, bias


@dataclass(kw_only=True, eq=False, repr=False)
class BagLogistic(LogisticOnVectors, BagEstimator):
    """Ridge logistic regression on one vector per bag, and optional covariates."""

    @abstractmethod
    def vectors(self, bags: Sequence[Bag]) -> Floats:
        """Return one vector per bag (bags, d), NaN for missing values."""

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train on `bags`; `tune` is not used."""
        del tune
        encode_labels(labels)  # before a bag is read
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        self.fit_vectors(self._with_covariates(bags), labels)

    def _try_building(self, bag: Bag, n_classes: int) -> None:
        """Pool one bag as `fit` would."""
        del n_classes
        self.vectors([bag])

    def _predict_proba(self, bags: SeenBags) -> Floats:
        """Return class probabilities (bags, classes)."""
        return self.probabilities_of(self._with_covariates(bags))

    def _with_covariates(self, bags: SeenBags) -> Floats:
        return np.hstack([self.vectors(bags), self.covariate_columns_.columns(bags.patients)])
