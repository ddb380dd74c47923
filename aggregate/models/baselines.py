"""Models that know little about the images: what any other model must beat."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aggregate.models.base import Arrays, BagEstimator, Labels, Tune
from aggregate.models.logistic import BagLogistic
from pipeline.bags import Bag
from pipeline.covariates import Covariate, Kind, read_covariate
from pipeline.errors import ConfigError
from pipeline.quantities import tumour_volumes_ml


@dataclass(kw_only=True, eq=False, repr=False)
class Majority(BagEstimator):
    """The class shares of the training patients, whatever the bag."""

    kind: ClassVar[str] = "majority"

    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Count the classes of the training patients."""
        del bags, tune
        self.classes_, counts = np.unique(labels, return_counts=True)
        self.shares_ = counts / counts.sum()

    def _predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the class shares for every bag (bags, classes)."""
        return np.tile(self.shares_, (len(bags), 1))

    def learned_arrays(self) -> Arrays:
        """Return the class shares (classes,)."""
        return {"shares": self.shares_}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over the class shares."""
        self.shares_ = arrays["shares"]


@dataclass(kw_only=True, eq=False, repr=False)
class BagSize(BagLogistic):
    """Logistic regression on the logarithm of the number of slices, in all and of each phase."""

    kind: ClassVar[str] = "bag_size"

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return log(1 + slices) (bags, 1 + phases)."""
        counts = [[len(bag), *bag.slices_per_phase().values()] for bag in bags]
        return np.log1p(np.array(counts, dtype=np.float64))


@dataclass(kw_only=True, eq=False, repr=False)
class TumourSize(BagLogistic):
    """Logistic regression on the logarithms of the largest tumour area and of the tumour volume."""

    kind: ClassVar[str] = "tumour_size"

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return log(1 + largest area in mm2) and log(1 + largest volume over the phases in mm3) (bags, 2)."""
        volumes_mm3 = [1000 * max(tumour_volumes_ml(bag).values(), default=0.0) for bag in bags]
        sizes = [[bag.tumour_area_mm2.max(), volume] for bag, volume in zip(bags, volumes_mm3, strict=True)]
        return np.log1p(np.array(sizes, dtype=np.float64))


@dataclass(kw_only=True, eq=False, repr=False)
class CentreSlice(BagLogistic):
    """Logistic regression on the middle slice of each phase, averaged over the phases present."""

    kind: ClassVar[str] = "centre_slice"

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the features of the middle slices (bags, d)."""
        return np.stack([bag.features[_middle_slices(bag)].mean(axis=0, dtype=np.float64) for bag in bags])


@dataclass(kw_only=True, eq=False, repr=False)
class SinglePhase(BagLogistic):
    """Logistic regression on the mean slice of one phase; the training mean stands in where it is missing."""

    kind: ClassVar[str] = "single_phase"

    phase: str = ""
    """Name of the phase; a configuration that gives none means its arterial phase."""

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the mean over the slices of the phase (bags, d)."""
        return np.stack([_mean_of_phase(bag, self.phase) for bag in bags])


@dataclass(kw_only=True, eq=False, repr=False)
class Covariates(BagLogistic):
    """Logistic regression on columns of the cohort table: numbers as they are, words as one column each.

    A patient of whom every column is missing gets the class shares of the training patients, as weighted there: the
    mean of a column would be taken for a finding.
    """

    kind: ClassVar[str] = "covariates"
    unsaved: ClassVar[frozenset[str]] = frozenset({"covariates"})  # they are the patients' data

    covariates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Patient identifier -> column -> cell, of every patient; after loading, to be set anew."""

    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Learn which words each category has among the training patients, then train on `bags`.

        What kind a column is, is told by the cells of all patients in the table, and by no label.
        """
        training = {bag.patient_id for bag in bags}
        self.words_: dict[str, list[str] | None] = {
            column.name: None
            if column.is_ordered
            else sorted({word for who, word in column.words.items() if who in training and word})
            for column in self._columns()
        }
        _, counts = np.unique(np.asarray(labels), return_counts=True)
        shares = np.ones(len(counts)) if self.class_weight == "balanced" else counts.astype(np.float64)
        self.shares_ = shares / shares.sum()
        super()._fit(bags, labels, tune)

    def _predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        return np.where(self._is_known(bags)[:, None], super()._predict_proba(bags), self.shares_)

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the columns as numbers, NaN where missing (bags, numbers + words)."""
        columns = {column.name: column for column in self._columns()}
        rows = [np.zeros(len(bags))]  # never an empty vector
        for name, words in self.words_.items():
            column = columns.get(name, Covariate(name, Kind.CATEGORY, {}, {}))
            rows += _as_numbers(column, words, [bag.patient_id for bag in bags])
        return np.stack(rows, axis=1)

    def learned_arrays(self) -> Arrays:
        """Return what logistic regression learned, the class shares, and the words of each column as JSON."""
        words = np.frombuffer(json.dumps(self.words_).encode(), dtype=np.uint8)
        return {**super().learned_arrays(), "shares": self.shares_, "words": words}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over what `learned_arrays` returned."""
        super().set_learned_arrays(arrays)
        self.shares_ = arrays["shares"]
        self.words_ = json.loads(arrays["words"].tobytes())

    def _is_known(self, bags: Sequence[Bag]) -> NDArray[np.bool_]:
        """Return of which patients there is a number, or a word that training patients have too (bags,)."""
        self.check_fitted()
        vectors = self.vectors(bags)
        is_word = np.concatenate(
            [
                [True],
                *(
                    [words is not None] * (1 if words is None else len(words))
                    for words in self.words_.values()
                ),
            ]
        )
        told: NDArray[np.bool_] = np.where(
            is_word, vectors > 0, np.isfinite(vectors)
        )  # (bags, numbers + words)
        return np.asarray(told.any(axis=1))

    def _columns(self) -> list[Covariate]:
        names = sorted({name for cells in self.covariates.values() for name in cells})
        return [
            read_covariate(name, {who: cells.get(name, "") for who, cells in self.covariates.items()})
            for name in names
        ]


def _as_numbers(
    column: Covariate, words: Sequence[str] | None, patient_ids: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Return the numbers of a column (bags,), or for each of its words who has it (bags,)."""
    if words is None:
        found = column.numbers
        numbers = [found.get(who) for who in patient_ids]
        return [np.array([np.nan if number is None else number for number in numbers])]
    told = column.words
    return [np.array([float(told.get(who) == word) for who in patient_ids]) for word in words]


def _mean_of_phase(bag: Bag, phase: str) -> NDArray[np.float64]:
    """Return the mean over the slices of a phase (d,), NaN where there is none."""
    if phase not in bag.header.phase_names:
        known = ", ".join(bag.header.phase_names)
        raise ConfigError(f"model 'single_phase': no phase {phase!r} in the bags; expected one of {known}")
    features = bag.in_phases([phase]).features  # (n, d)
    if not len(features):
        return np.full(features.shape[1], np.nan)
    mean: NDArray[np.float64] = features.mean(axis=0, dtype=np.float64)
    return mean


def _middle_slices(bag: Bag) -> NDArray[np.intp]:
    middle = []
    for phase in np.unique(bag.phase):
        here = np.flatnonzero(bag.phase == phase)
        in_order = here[np.lexsort((bag.lesion[here], bag.scale[here], bag.slice_index[here]))]
        middle.append(in_order[len(in_order) // 2])
    return np.array(middle, dtype=np.intp)
