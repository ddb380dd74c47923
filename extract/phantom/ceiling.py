"""Upper bounds of classification on the phantom: observers who know how the cohort was drawn.

The first oracle reads the signs and applies Bayes' rule to the frequency tables, which is exact. The second reads
the mean HU of the tumour beside the liver in each acquired phase as well: given class and pattern of signs they
are close to a normal distribution, whose moments are taken from a large draw. Both know the class frequencies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from extract.phantom import facts
from extract.phantom.config import PhantomSection
from extract.phantom.hounsfield import draw_hounsfield
from extract.phantom.signs import CLASSWISE, Flags, draw_signs, pattern_probabilities, patterns_of
from extract.phantom.subjects import acquired_s_of
from pipeline.ceiling import Ceiling
from pipeline.tables import read_table

Floats = NDArray[np.float64]
_CLASSWISE_TABLES = {"lobulated": facts.LOBULATED, "cirrhosis": facts.CIRRHOSIS}
_FEWEST = 30
"""A pattern with fewer draws than this has no estimated moments; its HU are ignored."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What the oracles read of n patients.

    Attributes:
        label: intp (n,), index into facts.CLASSES; never read, only compared with.
        markers: bool (n, 5), in the order of facts.MARKERS.
        classwise: bool (n, 2), in the order of signs.CLASSWISE.
        contrast_hu: float64 (n, 4), tumour minus liver per phase; NaN where the phase was not acquired.
    """

    label: NDArray[np.intp]
    markers: Flags
    classwise: Flags
    contrast_hu: Floats


def draw_reading(section: PhantomSection, n: int, rng: np.random.Generator) -> Reading:
    """Draw n patients with the class frequencies and missing phases of a section, without any voxel."""
    label = rng.choice(len(facts.CLASSES), size=n, p=prior_of(section))
    signs = draw_signs(label, rng)
    hounsfield = draw_hounsfield(signs, rng, acquired_s_of(section))
    contrast = hounsfield.lesions["whole"] - hounsfield.organs["liver"]
    missing = np.array([section.missing[phase] for phase in facts.PHASES])
    contrast[rng.random(contrast.shape) < missing] = np.nan
    return Reading(label, signs.flags(facts.MARKERS), signs.flags(CLASSWISE), contrast)


def read_truth(path: Path) -> Reading:
    """Read what the oracles need from a truth.csv."""
    rows = read_table(path)
    contrast = [[_contrast(row, phase) for phase in facts.PHASES] for row in rows]
    return Reading(
        label=np.array([list(facts.CLASSES).index(row["label"]) for row in rows], np.intp),  # type: ignore[arg-type]
        markers=_flags(rows, facts.MARKERS),
        classwise=_flags(rows, CLASSWISE),
        contrast_hu=np.array(contrast),
    )


def prior_of(section: PhantomSection) -> Floats:
    """Return the class frequencies of a section."""
    counts = np.array([section.patients[name] for name in facts.CLASSES], np.float64)
    return np.asarray(counts / counts.sum())


def read_signs(reading: Reading, prior: Floats) -> Floats:
    """Return the class probabilities (n, 3) of an observer who reads the signs only."""
    return _normalised(_log_sign_likelihood(reading) + np.log(prior))


class HounsfieldOracle:
    """An observer who reads the signs and the HU of the tumour.

    Attributes:
        moments_: (class, pattern) -> mean (4,) and covariance (4, 4) of tumour minus liver.
    """

    def fit(self, reading: Reading) -> "HounsfieldOracle":
        """Take the moments of HU given class and pattern from a large draw without missing phases."""
        self.moments_: dict[tuple[int, int], tuple[Floats, Floats]] = {}
        keys = _pattern_key(reading.markers)
        for c, name in enumerate(facts.CLASSES):
            for pattern in _pattern_key(_marker_table(name)):
                hu = reading.contrast_hu[(reading.label == c) & (keys == pattern)]
                if len(hu) >= _FEWEST:
                    self.moments_[c, int(pattern)] = hu.mean(axis=0), np.cov(hu, rowvar=False)
        return self

    def predict_proba(self, reading: Reading, prior: Floats) -> Floats:
        """Return the class probabilities (n, 3)."""
        log_likelihood = _log_sign_likelihood(reading) + np.log(prior)
        keys = _pattern_key(reading.markers)
        acquired = np.isfinite(reading.contrast_hu)
        for (c, pattern), (mean, covariance) in self.moments_.items():
            for members, phases in _alike(acquired, keys == pattern):
                hu = reading.contrast_hu[np.ix_(members, phases)]
                log_likelihood[members, c] += _log_normal(
                    hu, mean[phases], covariance[np.ix_(phases, phases)]
                )
        return _normalised(log_likelihood)


def ceiling_of_signs(reading: Reading, prior: Floats) -> Ceiling:
    """Return what the observer who reads the signs reaches on the patients of a reading."""
    found = areas(reading.label, read_signs(reading, prior))
    return Ceiling("reads the signs that were drawn", len(reading.label), found)


def areas(label: NDArray[np.intp], probabilities: Floats) -> Mapping[str, float]:
    """Return the one-vs-rest AUC of each class and their mean, `macro`; NaN for a class nobody has."""
    result = {}
    for c, name in enumerate(facts.CLASSES):
        positive = label == c
        known = positive.any() and not positive.all()
        result[str(name)] = float(roc_auc_score(positive, probabilities[:, c])) if known else float("nan")
    return {**result, "macro": float(np.mean(list(result.values())))}


def _log_sign_likelihood(reading: Reading) -> Floats:
    keys = _pattern_key(reading.markers)
    columns = []
    for name in facts.CLASSES:
        likelihood = np.zeros(2 ** len(facts.MARKERS))
        likelihood[_pattern_key(_marker_table(name))] = pattern_probabilities(name)
        column = likelihood[keys]
        for i, sign in enumerate(CLASSWISE):
            share = _CLASSWISE_TABLES[sign][name]
            column = column * np.where(reading.classwise[:, i], share, 1 - share)
        columns.append(column)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.stack(columns, axis=1)))


def _normalised(log_likelihood: Floats) -> Floats:
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    return np.asarray(likelihood / likelihood.sum(axis=1, keepdims=True))


def _log_normal(values: Floats, mean: Floats, covariance: Floats) -> Floats:
    """Log density, with the constant: classes whose moments are missing compete with it."""
    away = values - mean
    _, log_determinant = np.linalg.slogdet(covariance)
    square = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    return np.asarray(-0.5 * (square + log_determinant + len(mean) * np.log(2 * np.pi)))


def _alike(acquired: Flags, chosen: Flags) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Group the chosen patients by the phases they have: (patients, phases)."""
    for phases in np.unique(acquired[chosen], axis=0):
        if phases.any():
            yield np.flatnonzero(chosen & (acquired == phases).all(axis=1)), np.flatnonzero(phases)


def _marker_table(name: str) -> Flags:
    return np.array([[marker in pattern for marker in facts.MARKERS] for pattern in patterns_of(name)])


def _pattern_key(markers: Flags) -> NDArray[np.intp]:
    return np.asarray(markers @ (1 << np.arange(len(facts.MARKERS))), np.intp)


def _flags(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> Flags:
    return np.array([[row[name] == "1" for name in names] for row in rows])


def _contrast(row: Mapping[str, str], phase: str) -> float:
    if not row[f"n_slices_{phase}"]:
        return float("nan")
    return float(row[f"whole_hu_{phase}"]) - float(row[f"liver_hu_{phase}"])
