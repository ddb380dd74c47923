"""A classifier of single slices: multinomial logistic regression on principal components, one for each group of slices.

Each slice has the class of its patient as label. A slice weighs as one over the number of its patient's slices in the group,
times the weight of the class, so that each patient counts the same; mean, spread and components are weighted likewise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from aggregate.models.base import softmax

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of many patients as rows.

    Attributes:
        features: float32 (rows, d), NaN for a missing measure.
        patient: intp (rows,), number of the patient.
        group: intp (rows,), group of the slice, such as its phase.
    """

    features: NDArray[np.float32]
    patient: NDArray[np.intp]
    group: NDArray[np.intp]

    def of(self, chosen: NDArray[np.bool_]) -> "Slices":
        """Return the rows that a boolean array (rows,) chooses."""
        return Slices(self.features[chosen], self.patient[chosen], self.group[chosen])


@dataclass(frozen=True, eq=False)
class SliceModel:
    """Class probabilities of a slice: softmax((x - mean) / std W + b) of its group.

    Attributes:
        mean: (groups, d).
        std: (groups, d).
        weights: (groups, d, classes).
        bias: (groups, classes), minus infinity for a class that no training patient of the group has; NaN for a group in
            which fewer than two classes have patients.
    """

    mean: Floats
    std: Floats
    weights: Floats
    bias: Floats

    def scores(self, slices: Slices) -> Floats:
        """Return the class probabilities of slices (rows, classes), NaN in a group that could not be trained."""
        scores = np.full((len(slices.features), self.bias.shape[1]), np.nan)
        for group in np.unique(slices.group):
            here = slices.group == group
            if np.isnan(self.bias[group]).any():
                continue
            standardised = (slices.features[here].astype(np.float64) - self.mean[group]) / self.std[group]
            # A missing measure counts as the mean of the training slices.
            scores[here] = softmax(np.nan_to_num(standardised) @ self.weights[group] + self.bias[group])
        return scores


@dataclass(frozen=True)
class SliceTraining:
    """Settings of the classifier of slices."""

    n_groups: int
    n_classes: int
    n_components: int
    """Most principal components."""
    strength: float
    """C of scikit-learn's LogisticRegression, as if each patient were one sample."""
    is_balanced: bool
    """Whether classes are weighted inversely to their number of patients."""
    seed: int

    def fit(self, slices: Slices, codes: NDArray[np.intp]) -> SliceModel:
        """Train one classifier per group; codes (patients,) are the classes of the patients by their number."""
        d = slices.features.shape[1]
        model = SliceModel(
            mean=np.zeros((self.n_groups, d)),
            std=np.ones((self.n_groups, d)),
            weights=np.zeros((self.n_groups, d, self.n_classes)),
            bias=np.full((self.n_groups, self.n_classes), np.nan),
        )
        for group in np.unique(slices.group):
            rows = slices.of(slices.group == group)
            if len(np.unique(codes[rows.patient])) > 1:
                # Features that are all constant, or measures that no slice has, make scikit-learn divide by 0 for what is not used.
                with np.errstate(invalid="ignore", divide="ignore"):
                    self._fit_group(model, int(group), rows, codes)
        return model

    def _fit_group(self, model: SliceModel, group: int, rows: Slices, codes: NDArray[np.intp]) -> None:
        """Write into `model` what is learned of one group."""
        labels, weight = codes[rows.patient], self._weights(rows.patient, codes)
        scaler = StandardScaler().fit(rows.features.astype(np.float64), sample_weight=weight)
        standardised = np.nan_to_num(scaler.transform(rows.features.astype(np.float64)))
        components = self._components(np.sqrt(weight)[:, None] * standardised)  # (n, d)
        regression = LogisticRegression(C=self.strength, max_iter=1000)
        regression.fit(standardised @ components.T, labels, sample_weight=weight)
        weights, bias = regression.coef_, regression.intercept_
        if len(weights) == 1:  # for two classes scikit-learn stores the weights of the second only
            weights, bias = np.stack([0 * weights[0], weights[0]]), np.array([0.0, bias[0]])
        model.mean[group], model.std[group] = scaler.mean_, scaler.scale_
        model.bias[group] = -np.inf
        model.bias[group, regression.classes_] = bias
        model.weights[group][:, regression.classes_] = components.T @ weights.T

    def _components(self, weighted: Floats) -> Floats:
        """Return the principal components (n, d) of rows of weighted mean 0 (rows, d), each times the root of its weight.

        Where all would be kept they only turn the axes, which ridge regression does not feel.
        """
        n_rows, d = weighted.shape
        if self.n_components >= d:
            return np.eye(d)
        basis = TruncatedSVD(min(self.n_components, n_rows), random_state=self.seed).fit(weighted)
        return np.asarray(basis.components_, dtype=np.float64)

    def _weights(self, patient: NDArray[np.intp], codes: NDArray[np.intp]) -> Floats:
        """Return the weight of each slice (rows,), summing to the number of patients."""
        numbers, of_row, counts = np.unique(patient, return_inverse=True, return_counts=True)
        of_patient = np.ones(len(numbers))
        if self.is_balanced:
            of_class = np.bincount(codes[numbers], minlength=self.n_classes)
            of_patient = len(numbers) / (np.count_nonzero(of_class) * of_class[codes[numbers]])
        return np.asarray((of_patient / counts)[of_row], dtype=np.float64)
