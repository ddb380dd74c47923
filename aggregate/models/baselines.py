"""Baselines that use little or no image information: every other model must be better than these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patient import Reads
from aggregate.cohort.scales import n_slices, slices_per_phase
from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients
from aggregate.models.logistic import BagLogistic, LogisticOnVectors
from aggregate.models.pooling import mean_of_instances
from aggregate.models.views import CovariateColumns
from pipeline.bags import Bag
from pipeline.errors import ConfigError
from pipeline.quantities import median_of_phases, tumour_volumes_ml


@dataclass(kw_only=True, eq=False, repr=False)
class Majority(PatientEstimator):
    """The class shares of the training patients, the same for every bag."""

    kind: ClassVar[str] = "majority"

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Count the classes of the training patients."""
        del patients, tune
        self.classes_, counts = np.unique(labels, return_counts=True)
        self.shares_ = counts / counts.sum()

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return the class shares for every patient (patients, classes)."""
        return np.tile(self.shares_, (len(patients), 1))

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return empty sets: only the labels are read."""
        del parameters
        return Reads(frozenset(), frozenset())

    def learned_arrays(self) -> Arrays:
        """Return the class shares (classes,)."""
        return {"shares": self.shares_}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the class shares."""
        self.shares_ = arrays["shares"]


@dataclass(kw_only=True, eq=False, repr=False)
class BagSize(BagLogistic):
    """Logistic regression on the logarithm of the number of slices, in total and per phase."""

    kind: ClassVar[str] = "bag_size"

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return log(1 + slices) (bags, 1 + phases)."""
        counts = [[n_slices(bag), *slices_per_phase(bag)] for bag in bags]
        return np.log1p(np.array(counts, dtype=np.float64))


@dataclass(kw_only=True, eq=False, repr=False)
class TumourSize(BagLogistic):
    """Logistic regression on the logarithms of the largest tumour area and of the tumour volume."""

    kind: ClassVar[str] = "tumour_size"

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return log(1 + largest area in mm2) and log(1 + volume in mm3, the median over the phases) (bags, 2).

        Without a drawn tumour both are 0.
        """
        volumes_ml = [median_of_phases(tumour_volumes_ml(bag).values()) for bag in bags]
        sizes = [[bag.tumour_area_mm2.max(), 1000 * ml] for bag, ml in zip(bags, volumes_ml, strict=True)]
        return np.log1p(np.nan_to_num(np.array(sizes, dtype=np.float64), nan=0.0))


@dataclass(kw_only=True, eq=False, repr=False)
class CentreSlice(BagLogistic):
    """Logistic regression on the middle slice of each phase, averaged over the phases present and its scales."""

    kind: ClassVar[str] = "centre_slice"

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the features of the middle slices (bags, d)."""
        return np.stack([mean_of_instances(bag.features[_middle_slices(bag)]) for bag in bags])


@dataclass(kw_only=True, eq=False, repr=False)
class SinglePhase(BagLogistic):
    """Logistic regression on the mean feature vector of one phase; a missing phase is replaced by the training mean."""

    kind: ClassVar[str] = "single_phase"

    phase: str = ""
    """Name of the phase; by default the arterial phase of the configuration."""

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the mean over the slices of the phase (bags, d)."""
        return np.stack([_mean_of_phase(bag, self.phase) for bag in bags])


@dataclass(kw_only=True, eq=False, repr=False)
class Covariates(LogisticOnVectors):
    """Logistic regression on columns of the cohort table: numbers unchanged, categories one-hot encoded.

    A patient with all columns missing is predicted as the class shares of the training patients, with the class
    weights of the fit: column means would otherwise be read as findings.
    """

    kind: ClassVar[str] = "covariates"

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Collect the words of each category from the training patients, then train on the encoded columns."""
        del tune
        if not self.covariates:
            raise ConfigError("model 'covariates': expected at least one column in `covariates`, found none")
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, patients)
        _, counts = np.unique(np.asarray(labels), return_counts=True)
        shares = np.ones(len(counts)) if self.class_weight == "balanced" else counts.astype(np.float64)
        self.shares_ = shares / shares.sum()
        self.fit_vectors(self.covariate_columns_.columns(patients), labels)

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes)."""
        is_told = self.covariate_columns_.is_told(patients)[:, None]
        return np.where(
            is_told, self.probabilities_of(self.covariate_columns_.columns(patients)), self.shares_
        )

    @classmethod
    def reads(cls, parameters: Mapping[str, Any]) -> Reads:
        """Return the columns of the cohort table; no bag is read."""
        return Reads(frozenset(), super().reads(parameters).covariates)

    def try_building(self, patients: Samples, n_classes: int) -> None:
        """Check that the first patient has the columns."""
        del n_classes
        if len(patients):
            CovariateColumns.learned(self.covariates, patients[:1])

    def learned_arrays(self) -> Arrays:
        """Return the arrays of the logistic regression, and the class shares."""
        return {**super().learned_arrays(), "shares": self.shares_}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the arrays that `learned_arrays` returned."""
        super().set_learned_arrays(arrays)
        self.shares_ = arrays["shares"]


def _mean_of_phase(bag: Bag, phase: str) -> NDArray[np.float64]:
    """Return the mean over the slices of a phase (d,), NaN if there is no slice."""
    if phase not in bag.header.phase_names:
        known = ", ".join(bag.header.phase_names)
        raise ConfigError(f"model 'single_phase': no phase {phase!r} in the bags; expected one of {known}")
    features = bag.in_phases([phase]).features  # (n, d)
    if not len(features):
        return np.full(features.shape[1], np.nan)
    return mean_of_instances(features)


def _middle_slices(bag: Bag) -> NDArray[np.intp]:
    """Return the instances of the middle slice of each phase: one, or one at each scale."""
    middle = []
    for phase in np.unique(bag.phase):
        places = np.stack([bag.slice_index, bag.lesion], axis=1)
        in_order = np.unique(places[bag.phase == phase], axis=0)
        is_middle = (places == in_order[len(in_order) // 2]).all(axis=1)
        middle.append(np.flatnonzero(is_middle & (bag.phase == phase)))
    return np.concatenate(middle)
