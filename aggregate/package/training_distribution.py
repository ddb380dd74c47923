"""How the training patients' features and scans are spread: training_distribution.json and .safetensors of a package.

Of each reading of the model (the blocks that it reads) and each phase, the mean feature vectors of the patients are
standardised, projected on a few principal components, and given Ledoit and Wolf's shrunk covariance; a patient's distance is
Mahalanobis's. Over several phases it is the root of the mean of the squared distances, each over the median of the training
patients'. What is usual is measured on training patients whom the distribution had not seen, as a new patient has not been seen:
each in a fold of a cross-validation, for every combination of phases among those who have at least these phases.

No value of a patient is kept: means, components and covariances of at least FEWEST patients, quantiles of as many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold

from aggregate.cohort.patients import Patients
from aggregate.models.views import View
from aggregate.package.read_features import Reading, vectors_of
from aggregate.package.scan_quantities import ALL_PHASES, ScanQuantities, quantities_of
from pipeline.errors import PackageError

DISTRIBUTION, ARRAYS = "training_distribution.json", "training_distribution.safetensors"
FEWEST = 20
"""Of fewer patients no quantile is told, and no distribution learned."""
FEWEST_FAR = 99
"""Of fewer patients none lies beyond 99 % of the others."""
LOW, HIGH, FAR = 0.05, 0.95, 0.99
_SHARES = tuple(round(0.05 * i, 2) for i in range(1, 20))
_FOLDS = 20
_PATIENTS_PER_COMPONENT = 5
_MOST_COMPONENTS = 40
_MOST_PHASES = 8
"""Of more phases only the combination of all is told; the number of combinations doubles with each."""
_STRICT = ConfigDict(strict=True, frozen=True, extra="forbid")


class Spread(BaseModel):
    """The quantiles of one number over training patients."""

    model_config = _STRICT

    n_patients: int
    shares: tuple[float, ...]
    quantiles: tuple[float, ...]
    n_below: int
    """Training patients below the median as it is told; with ties fewer than half."""
    n_above: int

    def quantile(self, share: float) -> float | None:
        """Return the quantile of a share; None where the patients are too few for it."""
        return dict(zip(self.shares, self.quantiles, strict=True)).get(share)

    def share_below(self, value: float) -> float:
        """Return the share of the training patients below a value, within the shares that are known."""
        return float(np.interp(value, self.quantiles, self.shares))


class KnownView(BaseModel):
    """A `View`, as JSON."""

    model_config = _STRICT

    bags: str
    features: tuple[str, ...]
    measures: bool
    phases: tuple[str, ...]
    scales: tuple[str, ...]
    join_scales: bool


class KnownReading(BaseModel):
    """What is known of one reading."""

    model_config = _STRICT

    name: str
    view: KnownView
    usual: dict[str, float]
    """Phase -> median squared distance of training patients whom the distribution had not seen."""
    distances: dict[str, Spread]
    """Phases, joined by + -> distance of the training patients who have at least these."""
    too_few: dict[str, int]
    """Phase -> patients who have it, where they are too few for a distribution."""


class KnownQuantity(BaseModel):
    """The spread of a quantity."""

    model_config = _STRICT

    quantity: str
    phase: str
    spread: Spread


class DistributionSummary(BaseModel):
    """training_distribution.json."""

    model_config = _STRICT

    n_patients: int
    bag_sets: tuple[str, ...]
    readings: tuple[KnownReading, ...]
    quantities: tuple[KnownQuantity, ...]
    untold: tuple[str, ...]
    """Quantities that fewer than FEWEST patients have."""
    phases: dict[str, int]
    """Patients who have the phase."""


@dataclass(frozen=True, eq=False)
class PhaseDistribution:
    """The feature vectors of one phase.

    Attributes:
        mean, scale: float32 (d,), of the features; a feature that is not known is taken as the mean.
        components: float32 (k, d).
        location: float32 (k,), mean of the scores.
        precision: float32 (k, k), inverse of their covariance.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    components: NDArray[np.float32]
    location: NDArray[np.float32]
    precision: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: NDArray[np.float64], n_components: int) -> "PhaseDistribution":
        """Learn from the vectors of n patients (n, d); NaN is left out."""
        known = np.isfinite(vectors)
        n_known = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, vectors, 0.0).sum(axis=0) / n_known
        away = np.where(known, vectors - mean, 0.0)
        scale = np.sqrt((away**2).sum(axis=0) / n_known)
        scale = np.where(scale > 1e-6 * np.maximum(np.abs(mean), 1.0), scale, 1.0)
        pca = PCA(n_components, svd_solver="full").fit(away / scale)
        scores = (away / scale) @ pca.components_.T
        shrunk = LedoitWolf().fit(scores)
        found = (mean, scale, pca.components_, shrunk.location_, shrunk.precision_)
        return cls(*(array.astype(np.float32) for array in found))

    def squared_distances(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Mahalanobis's squared distance of each vector (n,); NaN for a row that is NaN throughout.

        Raises:
            PackageError: the vectors have another number of features.
        """
        if vectors.shape[1] != len(self.mean):
            raise PackageError(
                f"the features of the bags: expected {len(self.mean)}, as of the training patients, found {vectors.shape[1]}"
            )
        away = np.where(np.isfinite(vectors), (vectors - self.mean) / self.scale, 0.0)
        scores = away @ self.components.T.astype(np.float64)
        centre, precision = self.location[None].astype(np.float64), self.precision.astype(np.float64)
        found = cdist(scores, centre, "mahalanobis", VI=precision)[:, 0] ** 2
        return np.where(np.isfinite(vectors).any(axis=1), found, np.nan)


@dataclass(frozen=True, eq=False)
class TrainingDistribution:
    """What a package knows of its training patients' features and scans.

    Attributes:
        summary: what stands in the JSON.
        phases: reading number and phase -> distribution.
    """

    summary: DistributionSummary
    phases: Mapping[tuple[int, str], PhaseDistribution]

    def distances(self, reading: int, vectors: Mapping[str, NDArray[np.float64]]) -> "Distances":
        """Return the distance of each patient by phase and over the patient's phases, from `vectors_of` of the reading."""
        known = self.summary.readings[reading]
        squares = {
            phase: self.phases[reading, phase].squared_distances(rows) / known.usual[phase]
            for phase, rows in vectors.items()
            if phase in known.usual
        }
        return Distances.of(squares)

    def write(self, folder: Path) -> None:
        """Write training_distribution.json and .safetensors."""
        (folder / DISTRIBUTION).write_text(self.summary.model_dump_json(indent=1) + "\n", encoding="utf-8")
        arrays = {
            f"{reading}/{phase}/{name}": np.ascontiguousarray(array)
            for (reading, phase), one in self.phases.items()
            for name, array in vars(one).items()
        }
        (folder / ARRAYS).write_bytes(save(arrays))

    @classmethod
    def read(cls, folder: Path, summary: DistributionSummary) -> "TrainingDistribution":
        """Read the arrays that `write` wrote.

        Args:
            folder: of the package.
            summary: its training_distribution.json.

        Raises:
            PackageError: they are missing, damaged, or not those of the summary.
        """
        try:
            arrays = load((folder / ARRAYS).read_bytes())
            phases = {
                (number, phase): PhaseDistribution(
                    **{name: arrays[f"{number}/{phase}/{name}"] for name in PhaseDistribution.__annotations__}
                )
                for number, reading in enumerate(summary.readings)
                for phase in reading.usual
            }
        except (OSError, SafetensorError, KeyError) as error:
            raise PackageError(
                f"{folder / ARRAYS}: expected the arrays of {DISTRIBUTION}, found: {error}"
            ) from error
        return cls(summary, phases)


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances of n patients to the training patients in one reading.

    Attributes:
        of_phase: phase -> float64 (n,), NaN without the phase.
        overall: float64 (n,), over the phases of each patient that have a distribution; NaN without one.
        combination: those phases, joined by +; "" without one.
    """

    of_phase: Mapping[str, NDArray[np.float64]]
    overall: NDArray[np.float64]
    combination: tuple[str, ...]

    @classmethod
    def of(cls, squares: Mapping[str, NDArray[np.float64]]) -> "Distances":
        """Combine the squared distances of each phase, which are relative to the median of the training patients."""
        table = np.stack(list(squares.values()), axis=1) if squares else np.zeros((0, 0))
        return cls(
            of_phase={phase: np.sqrt(column) for phase, column in squares.items()},
            overall=_root_mean(table),
            combination=tuple(_joined(squares, row) for row in np.isfinite(table)),
        )


def learn_distribution(
    patients: Patients, readings: Sequence[Reading], bag_sets: Sequence[str]
) -> TrainingDistribution:
    """Learn the distribution of the training patients.

    Args:
        patients: all of them.
        readings: what the model reads, from `readings_of_model`.
        bag_sets: names of the sets that it reads.
    """
    known: list[KnownReading] = []
    phases: dict[tuple[int, str], PhaseDistribution] = {}
    for number, reading in enumerate(readings):
        one, of_phase = _learn_reading(reading, vectors_of(reading.view, patients))
        known.append(one)
        phases |= {(number, phase): found for phase, found in of_phase.items()}
    quantities = quantities_of(patients, bag_sets)
    spreads, untold = _spreads(quantities)
    summary = DistributionSummary(
        n_patients=len(patients),
        bag_sets=tuple(bag_sets),
        readings=tuple(known),
        quantities=spreads,
        untold=untold,
        phases={name: int(has.sum()) for name, has in quantities.has_phase.items()},
    )
    return TrainingDistribution(summary, phases)


def reading_of(known: KnownReading) -> Reading:
    """Return the reading that a package knows of."""
    return Reading(known.name, View(**known.view.model_dump()))


def spread_of(values: NDArray[np.float64], *, is_rounded: bool = False) -> Spread:
    """Return the quantiles of n values, at the places (n + 1) p: of new values as many are expected below them.

    Args:
        values: finite, (n,).
        is_rounded: to three significant digits: enough to compare with, too few to know a patient by.
    """
    shares = (LOW, 0.25, 0.5, 0.75, HIGH) if is_rounded else _SHARES
    if not is_rounded and len(values) >= FEWEST_FAR:
        shares = (*shares, FAR)
    found = np.quantile(values, shares, method="weibull")
    told = [float(f"{value:.3g}") if is_rounded else float(value) for value in found]
    median = told[shares.index(0.5)]
    return Spread(
        n_patients=len(values),
        shares=shares,
        quantiles=tuple(told),
        n_below=int((values < median).sum()),
        n_above=int((values > median).sum()),
    )


def _learn_reading(
    reading: Reading, vectors: Mapping[str, NDArray[np.float64]]
) -> tuple[KnownReading, Mapping[str, PhaseDistribution]]:
    counts = {phase: int(np.isfinite(rows).any(axis=1).sum()) for phase, rows in vectors.items()}
    enough = {phase: rows for phase, rows in vectors.items() if counts[phase] >= FEWEST}
    unseen = {phase: _unseen_squares(rows) for phase, rows in enough.items()}
    usual = {phase: float(np.nanmedian(squares)) for phase, squares in unseen.items()}
    relative = {phase: squares / usual[phase] for phase, squares in unseen.items()}
    known = KnownReading(
        name=reading.name,
        view=KnownView(**asdict(reading.view)),
        usual=usual,
        distances=_reference(relative),
        too_few={phase: n for phase, n in counts.items() if n < FEWEST},
    )
    return known, {phase: _distribution(_present(rows)) for phase, rows in enough.items()}


def _distribution(vectors: NDArray[np.float64]) -> PhaseDistribution:
    return PhaseDistribution.of(vectors, _n_components(*vectors.shape))


def _n_components(n_patients: int, n_features: int) -> int:
    return max(1, min(n_patients // _PATIENTS_PER_COMPONENT, n_features, _MOST_COMPONENTS))


def _unseen_squares(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distance of each patient to a distribution of patients of other folds (n,); NaN without the phase."""
    found = np.full(len(vectors), np.nan)
    present = np.flatnonzero(np.isfinite(vectors).any(axis=1))
    # As many as of all of them: with one component less, every distance would be smaller than a new patient's.
    n_components = _n_components(len(present), vectors.shape[1])
    folds = KFold(min(_FOLDS, len(present)), shuffle=True, random_state=0)
    for train, test in folds.split(present):
        distribution = PhaseDistribution.of(vectors[present[train]], n_components)
        found[present[test]] = distribution.squared_distances(vectors[present[test]])
    return found


def _reference(relative: Mapping[str, NDArray[np.float64]]) -> dict[str, Spread]:
    """Return for each combination of phases the spread of the distance over the patients who have at least these."""
    names = list(relative)
    sizes = range(1, len(names) + 1) if len(names) <= _MOST_PHASES else (len(names),)
    found: dict[str, Spread] = {}
    for size in sizes:
        for chosen in combinations(names, size):
            table = np.stack([relative[name] for name in chosen], axis=1)
            distances = _root_mean(table[np.isfinite(table).all(axis=1)])
            if len(distances) >= FEWEST:
                found["+".join(chosen)] = spread_of(distances)
    return found


def _spreads(quantities: ScanQuantities) -> tuple[tuple[KnownQuantity, ...], tuple[str, ...]]:
    known, untold = [], []
    for (name, phase), values in quantities.values.items():
        told = values[np.isfinite(values)]
        if len(told) >= FEWEST:
            spread = spread_of(told, is_rounded=True)
            known.append(KnownQuantity(quantity=name, phase=phase, spread=spread))
        else:
            untold.append(f"{name} {phase}".strip() if phase != ALL_PHASES else name)
    return tuple(known), tuple(untold)


def _present(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[np.isfinite(rows).any(axis=1)]


def _root_mean(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root of the mean of what is known of each row (n,); NaN where nothing is."""
    known = np.isfinite(squares)
    sums, counts = np.where(known, squares, 0.0).sum(axis=1), known.sum(axis=1)
    return np.asarray(np.sqrt(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)))


def _joined(phases: Mapping[str, object], is_known: NDArray[np.bool_]) -> str:
    return "+".join(name for name, known in zip(phases, is_known, strict=True) if known)
