"""Slice-score pooling: how the class scores of a patient's slices are distributed, then logistic regression.

A classifier of single slices (`aggregate.models.slice_model`) says of each slice how probable the classes are. Of the scores of
each phase, scale and class a patient's features are the quantiles 0.1, 0.25, 0.5, 0.75 and 0.9, the mean, and the share of
slices in each bin of a histogram from 0 to 1. This is the published 2.5D recipe (J Hepatocell Carcinoma 2025;12:2095; BMC Cancer
2025, s12885-025-14971-7), with one thing that it needs to be honest: the scores of a training patient come from a classifier of
slices that has not seen the patient, of inner folds over the training patients. In-fold scores are near the label whatever
the features hold, and the regression would learn to believe them. A new patient's scores come from the classifier of all
training patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune, seed_of
from aggregate.models.class_codes import encode_labels
from aggregate.models.instances import pack
from aggregate.models.logistic import LogisticOnVectors
from aggregate.models.parameters import AtLeastTwo, Count, Positive
from aggregate.models.slice_model import Floats, SliceModel, Slices, SliceTraining
from aggregate.models.views import CovariateColumns, SeenBags
from pipeline.bags import Bag
from pipeline.errors import FoldError

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_PREFIX = "slices."


@dataclass(kw_only=True, eq=False, repr=False)
class SliceScores(LogisticOnVectors, BagEstimator):
    """Logistic regression on quantiles, mean and histogram of out-of-fold scores of the slices of each phase.

    The tuning patients are not used.
    """

    kind: ClassVar[str] = "slice_scores"

    bins: Count = 5
    """Bins of the histogram of the scores of a class, from 0 to 1."""
    components: Count = 32
    """Most principal components that the classifier of slices reads."""
    slice_strength: Positive = 1e-2
    """C of the classifier of slices, as if each patient were one sample; smaller means stronger regularisation."""
    inner_folds: AtLeastTwo = 5
    """Folds within the training patients, of the scores and of the choice of the strength; fewer where the rarest class has
    fewer patients."""

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train the regression on out-of-fold scores, then the classifier of slices on all of `bags`."""
        del tune
        classes, codes = encode_labels(labels)
        slices, self.n_groups_ = self._slices(bags)
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        scores = self.training_scores(slices, codes)
        vectors = self._vectors(scores, slices, len(codes))
        self.fit_vectors(np.hstack([vectors, self.covariate_columns_.columns(bags.patients)]), labels)
        self.slice_model_ = self._training(len(classes)).fit(slices, codes)

    def training_scores(self, slices: Slices, codes: NDArray[np.intp]) -> Floats:
        """Return the scores of training slices (rows, classes), each from a model that has not seen its patient.

        Raises:
            FoldError: a class has one training patient.
        """
        counts = np.bincount(codes)
        if counts.min() < 2:
            raise FoldError(
                f"model {self.kind!r}: a class has one training patient, too few for inner folds; expected at least 2: use "
                "fewer folds, or merge classes"
            )
        folds = StratifiedKFold(
            min(self.inner_folds, int(counts.min())), shuffle=True, random_state=seed_of(self.random_state)
        )
        scores = np.full((len(slices.patient), len(counts)), np.nan)
        for train, held_out in folds.split(np.zeros(len(codes)), codes):
            model = self._training(len(counts)).fit(slices.of(np.isin(slices.patient, train)), codes)
            tested = np.isin(slices.patient, held_out)
            scores[tested] = model.scores(slices.of(tested))
        return scores

    def _predict_proba(self, bags: SeenBags) -> Floats:
        """Return class probabilities (bags, classes)."""
        vectors = []
        for bag in bags:
            slices, _ = self._slices([bag])
            vectors.append(self._vectors(self.slice_model_.scores(slices), slices, 1))
        columns = self.covariate_columns_.columns(bags.patients)
        return self.probabilities_of(np.hstack([np.concatenate(vectors), columns]))

    def learned_arrays(self) -> Arrays:
        """Return the arrays of the regression and of the classifier of slices."""
        of_slices = {f"{_PREFIX}{name}": array for name, array in vars(self.slice_model_).items()}
        return {**super().learned_arrays(), **of_slices}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the arrays that `learned_arrays` returned."""
        super().set_learned_arrays(arrays)
        of_slices = {k.removeprefix(_PREFIX): v for k, v in arrays.items() if k.startswith(_PREFIX)}
        self.slice_model_ = SliceModel(**of_slices)
        self.n_groups_ = len(self.slice_model_.bias)

    def _training(self, n_classes: int) -> SliceTraining:
        return SliceTraining(
            n_groups=self.n_groups_,
            n_classes=n_classes,
            n_components=self.components,
            strength=self.slice_strength,
            is_balanced=self.class_weight == "balanced",
            seed=seed_of(self.random_state),
        )

    @staticmethod
    def _slices(bags: Sequence[Bag]) -> tuple[Slices, int]:
        """Return the slices of some bags, grouped by phase and scale, and the number of such groups."""
        packed = pack(bags)
        group = (packed.phase * packed.n_scales + packed.scale).numpy().astype(np.intp)
        patient = np.repeat(np.arange(len(packed)), packed.sizes)
        return Slices(packed.features.numpy(), patient, group), packed.n_phases * packed.n_scales

    def _vectors(self, scores: Floats, slices: Slices, n_patients: int) -> Floats:
        """Return the features of each patient (patients, groups x classes x (quantiles, mean, bins)), NaN without slices."""
        n_classes = scores.shape[1]
        width = n_classes * (len(QUANTILES) + 1 + self.bins)
        vectors = np.full((n_patients, self.n_groups_, width), np.nan)
        known = np.flatnonzero(np.isfinite(scores).all(axis=1))
        place = slices.patient * self.n_groups_ + slices.group
        known = known[np.argsort(place[known], kind="stable")]
        found, starts = np.unique(place[known], return_index=True)
        for at, rows in zip(found, np.split(known, starts[1:]), strict=True):
            vectors[divmod(int(at), self.n_groups_)] = distribution_of(scores[rows], self.bins)
        return vectors.reshape(n_patients, -1)


def distribution_of(scores: Floats, bins: int) -> Floats:
    """Describe the scores (slices, classes) of some slices: per class quantiles, mean, and shares of a histogram."""
    edges = np.linspace(0, 1, bins + 1)
    shares = [np.histogram(of_class, edges)[0] / len(scores) for of_class in scores.T]
    rows = [
        np.quantile(scores, QUANTILES, axis=0),
        scores.mean(axis=0, keepdims=True),
        np.stack(shares, axis=1),
    ]
    return np.concatenate(rows, axis=0).T.ravel()
