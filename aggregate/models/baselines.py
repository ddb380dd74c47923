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
        sizes = [[bag.tumour_area_mm2.max(), max(_volumes_mm3(bag))] for bag in bags]
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

    phase: str = "AP"
    """Name of the phase."""

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the mean over the slices of the phase (bags, d)."""
        return np.stack([_mean_of_phase(bag, self.phase) for bag in bags])


@dataclass(kw_only=True, eq=False, repr=False)
class Covariates(BagLogistic):
    """Logistic regression on columns of the cohort table: numbers as they are, words as one column each."""

    kind: ClassVar[str] = "covariates"
    unsaved: ClassVar[frozenset[str]] = frozenset({"covariates"})  # they are the patients' data

    covariates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Patient identifier -> column -> cell; an empty cell is missing. After loading, to be set anew."""

    def _fit(self, bags: Sequence[Bag], labels: Labels, tune: Tune | None) -> None:
        """Learn which words each column has among the training patients, then train on `bags`."""
        cells = [self._cells(bag) for bag in bags]
        columns = sorted({column for row in cells for column in row})
        self.words_ = {column: _words([row.get(column, "") for row in cells]) for column in columns}
        super()._fit(bags, labels, tune)

    def vectors(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the columns as numbers (bags, numbers + words)."""
        rows = []
        for bag in bags:
            cells = self._cells(bag)
            row = [_numbers_of(cells.get(column, ""), words) for column, words in self.words_.items()]
            rows.append([0.0, *(number for numbers in row for number in numbers)])  # never an empty vector
        return np.array(rows)

    def learned_arrays(self) -> Arrays:
        """Return what logistic regression learned, and the words of each column as JSON."""
        words = np.frombuffer(json.dumps(self.words_).encode(), dtype=np.uint8)
        return {**super().learned_arrays(), "words": words}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Take over what `learned_arrays` returned."""
        super().set_learned_arrays(arrays)
        self.words_ = json.loads(arrays["words"].tobytes())

    def _cells(self, bag: Bag) -> Mapping[str, str]:
        return self.covariates.get(bag.patient_id, {})


def _mean_of_phase(bag: Bag, phase: str) -> NDArray[np.float64]:
    """Return the mean over the slices of a phase (d,), NaN where there is none."""
    features = bag.in_phases([phase]).features  # (n, d)
    if not len(features):
        return np.full(features.shape[1], np.nan)
    mean: NDArray[np.float64] = features.mean(axis=0, dtype=np.float64)
    return mean


def _volumes_mm3(bag: Bag) -> list[float]:
    """Return the tumour volume of each phase present: its areas times the spacing of its slices."""
    volumes = []
    for phase in np.unique(bag.phase):
        source = bag.header.sources[bag.header.phase_names[phase]]
        is_here = (bag.phase == phase) & (bag.scale == bag.scale.min())
        # A slice with several lesions may stand in the bag more than once.
        _, first = np.unique(bag.slice_index[is_here], return_index=True)
        volumes.append(float(bag.tumour_area_mm2[is_here][first].sum() * source.spacing_mm[2]))
    return volumes


def _middle_slices(bag: Bag) -> NDArray[np.intp]:
    middle = []
    for phase in np.unique(bag.phase):
        here = np.flatnonzero(bag.phase == phase)
        in_order = here[np.lexsort((bag.lesion[here], bag.scale[here], bag.slice_index[here]))]
        middle.append(in_order[len(in_order) // 2])
    return np.array(middle, dtype=np.intp)


def _words(cells: Sequence[str]) -> list[str] | None:
    """Return the distinct words of a column, or None where every cell that is not empty is a number."""
    filled = {cell.strip() for cell in cells} - {""}
    return None if all(_number(cell) is not None for cell in filled) else sorted(filled)


def _numbers_of(cell: str, words: Sequence[str] | None) -> list[float]:
    if words is not None:
        return [float(cell.strip() == word) for word in words]
    number = _number(cell)
    return [np.nan if number is None else number]


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
