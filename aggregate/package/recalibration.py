"""Recalibration of a frozen model on a few labelled patients of a new centre, and its effect on the centre's other patients.

    p = softmax(log p / T + b)

T is one temperature (Guo et al. 2017); b is one intercept per class, which follows another case mix and a shift of the features towards
one class, and is learned where each class has INTERCEPT_FEWEST patients or more, else b = 0. Both are the mode of the posterior with weak priors, log T ~ N(0, 0.5) and
b ~ N(0, 1), so that a few patients whom the model happens to get right do not make it certain. No weight of the model changes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from aggregate.models.wrappers import logs_of
from aggregate.package.predicted_tables import TopTable
from aggregate.statistics.calibration import (
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
)
from aggregate.statistics.comparisons import paired_bootstrap
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import NOT_ESTIMABLE, Estimate, Scale, bootstrap_interval
from aggregate.statistics.measures import MACRO, METRICS, measure
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import CLASS, PATIENT_ID, PROBABILITY_OF_CLASS, bounds
from aggregate.tables.table import Column, Kind
from pipeline.errors import CohortError
from pipeline.names import number_of
from pipeline.tables import read_lines

FEWEST = 10
"""Patients of whom a temperature is learned."""
FEWEST_OF_CLASS = 2
INTERCEPT_FEWEST = 5
"""Patients of each class from which on the classes have an intercept."""
_SD_LOG_TEMPERATURE, _SD_INTERCEPT = 0.5, 1.0
_PROPER = ((MACRO, "log_loss"), (MACRO, "brier"), (MACRO, "auc"))
_SLOPE, _INTERCEPT, _ECE = "slope", "intercept", "ece"

RECALIBRATION = TopTable(
    "recalibration.csv",
    "class x metric",
    (
        CLASS,
        Column("metric", "Name of the metric, as in tables/performance.csv and tables/calibration.csv"),
        Column(
            "before", "Of the package, on the patients who were not recalibrated on", "metric", Kind.ESTIMATE
        ),
        *bounds("metric", kind=Kind.ESTIMATE, low="before_ci_low", high="before_ci_high"),
        Column("after", "Recalibrated, on the same patients", "metric", Kind.ESTIMATE),
        *bounds("metric", kind=Kind.ESTIMATE, low="after_ci_low", high="after_ci_high"),
        Column(
            "difference",
            "After minus before, paired; of slope and intercept no difference is told: the nearer to 1 and 0 is the better",
            "metric",
            Kind.ESTIMATE,
        ),
        *bounds("metric", kind=Kind.ESTIMATE),
        Column("p_value", "Two-sided p-value of no difference (paired bootstrap)", "", Kind.P_VALUE),
        Column("n", "Patients behind the numbers; none of them was recalibrated on", "patients", Kind.COUNT),
        Column("n_recalibrated_on", "Patients that the recalibration was learned on", "patients", Kind.COUNT),
        Column("method", "What was learned"),
    ),
    place=60,
    names_weights=False,
)
RECALIBRATED = TopTable(
    "recalibrated.csv",
    "patient",
    (
        PATIENT_ID,
        Column(
            "recalibrated_on",
            "yes for the patients whose labels the recalibration has seen: they tell nothing of its effect",
            "",
            Kind.YES_NO,
        ),
        Column("predicted", "Most probable class after recalibration; the first one if several are equal"),
        PROBABILITY_OF_CLASS,
    ),
    place=61,
    names_weights=False,
    digits=10,
)


@dataclass(frozen=True)
class Recalibration:
    """What was learned.

    Attributes:
        temperature: T.
        intercepts: class -> b; all 0 where they were not learned.
        n_patients: learned on.
        method: in words.
    """

    temperature: float
    intercepts: Mapping[str, float]
    n_patients: int
    method: str

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return recalibrated probabilities (..., classes)."""
        own = np.array(list(self.intercepts.values()))
        return np.asarray(softmax(logs_of(probabilities) / self.temperature + own, axis=-1))


def learn_recalibration(
    probabilities: NDArray[np.float64], labels: NDArray[np.intp], classes: Sequence[str]
) -> Recalibration:
    """Learn the recalibration of a centre.

    Args:
        probabilities: of the package, float64 (n, classes).
        labels: intp (n,), index into classes.
        classes: names.

    Raises:
        CohortError: the patients are too few, or a class has too few; it is named.
    """
    counts = np.bincount(labels, minlength=len(classes))
    _check_enough(counts, classes)
    has_intercepts = int(counts.min()) >= INTERCEPT_FEWEST
    found = _mode(logs_of(probabilities), labels, has_intercepts=has_intercepts)
    temperature, own = float(np.exp(found[0])), found[1:] - found[1:].mean()
    smallest = classes[int(counts.argmin())]
    method = (
        f"temperature {temperature:.3g}, and an intercept per class"
        if has_intercepts
        else f"temperature {temperature:.3g}; no intercepts, since {smallest} has {counts.min()} patients of the {INTERCEPT_FEWEST} that one needs"
    )
    intercepts = own if has_intercepts else np.zeros(len(classes))
    return Recalibration(
        temperature, dict(zip(classes, intercepts.tolist(), strict=True)), len(labels), method
    )


def read_recalibration_patients(
    path: Path, patient_ids: Sequence[str], labels: Sequence[str | None]
) -> NDArray[np.bool_]:
    """Return which patients a file names for recalibration (n,): a CSV with a column patient_id, and label where one is to be checked.

    Args:
        path: the file.
        patient_ids: of everybody who is predicted.
        labels: class of each in the cohort table; None where it is not known.

    Raises:
        CohortError: the file names a patient twice, one who is not predicted or has no label, or another label than the cohort
            table; or nobody else has a label.
        ResultsError: the file cannot be read.
    """
    known = dict(zip(patient_ids, labels, strict=True))
    named: dict[str, None] = {}
    for line in read_lines(path):
        patient_id = line.cells.get("patient_id", "").strip()
        where = f"{path}, line {line.number}"
        if not patient_id:
            raise CohortError(f"{where}: expected a patient in a column patient_id, found none")
        if patient_id in named:
            raise CohortError(f"{where}: patient {patient_id} stands there twice")
        if patient_id not in known:
            raise CohortError(
                f"{where}: patient {patient_id} is not among those who are predicted; see excluded.csv"
            )
        label, given = known[patient_id], line.cells.get("label", "").strip()
        if label is None:
            raise CohortError(
                f"{where}: patient {patient_id} has no label in the cohort table, and nothing to learn from"
            )
        if given and given != label:
            raise CohortError(
                f"{where}: patient {patient_id} is {given} here and {label} in the cohort table"
            )
        named[patient_id] = None
    chosen = np.array([patient_id in named for patient_id in patient_ids], dtype=np.bool_)
    if not any(label is not None and not used for label, used in zip(labels, chosen, strict=True)):
        raise CohortError(
            f"{path}: names every patient with a label; leave some out, on whom the effect can be measured"
        )
    return chosen


def effect_rows(
    recalibration: Recalibration,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.intp],
    classes: Sequence[str],
    settings: StatisticsSection,
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of recalibration.csv.

    Args:
        recalibration: what was learned, on other patients.
        probabilities: of the package, float64 (n, classes).
        labels: intp (n,), of the same patients.
        classes: names.
        settings: draws, seed, bins and level.
    """
    weights = draw_resamples(labels, draws=settings.draws, seed=settings.seed)
    effect = _Effect(recalibration, labels, tuple(classes), Sample(labels, weights), settings)
    versions = [probabilities, recalibration(probabilities)]
    before, after = (measure(labels, one[None], weights, classes) for one in versions)
    for key in (*_PROPER, *((name, "auc") for name in classes)):
        yield effect.paired(key, METRICS[key[1]].scale, before[key].resampled, after[key].resampled)
    for k, name in enumerate(classes):
        is_positive = labels == k
        own = [one[None, :, k] for one in versions]
        errors = [
            expected_calibration_error(p, is_positive, weights, bins=settings.calibration_bins) for p in own
        ]
        yield effect.paired((name, _ECE), "logit", *errors)
        for metric, estimated in ((_SLOPE, calibration_slope), (_INTERCEPT, calibration_intercept)):
            yield effect.row(
                (name, metric), *(estimated(p, is_positive, confidence=settings.confidence) for p in own)
            )


def recalibrated_rows(
    recalibration: Recalibration,
    patient_ids: Sequence[str],
    used: Iterable[bool],
    probabilities: NDArray[np.float64],
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of recalibrated.csv, everybody who is predicted."""
    classes = list(recalibration.intercepts)
    for patient_id, was_used, row in zip(patient_ids, used, recalibration(probabilities), strict=True):
        yield {
            "patient_id": patient_id,
            "recalibrated_on": bool(was_used),
            "predicted": classes[int(row.argmax())],
            **{f"p_{name}": float(p) for name, p in zip(classes, row, strict=True)},
        }


@dataclass(frozen=True, eq=False)
class _Effect:
    """What the rows of recalibration.csv share."""

    recalibration: Recalibration
    labels: NDArray[np.intp]
    classes: tuple[str, ...]
    sample: Sample
    settings: StatisticsSection

    def paired(
        self, key: tuple[str, str], scale: Scale, before: NDArray[np.float64], after: NDArray[np.float64]
    ) -> Mapping[str, Any]:
        """Return the row of a metric that was measured on the same resamples before and after."""
        smallest = int(np.bincount(self.labels, minlength=len(self.classes)).min())
        confidence = self.settings.confidence
        estimates = (
            bootstrap_interval(
                draws, scale=scale, smallest_n=smallest, confidence=confidence, sample=self.sample
            )
            for draws in (before, after)
        )
        found = paired_bootstrap(
            after, before, smallest_n=smallest, confidence=confidence, sample=self.sample
        )
        told = [or_not_estimable(x) for x in (found.value, found.low, found.high, found.p_value)]
        return {**self.row(key, *estimates), **dict(zip(_DIFFERENCE, told, strict=True))}

    def row(self, key: tuple[str, str], before: Estimate, after: Estimate) -> Mapping[str, Any]:
        """Return a row without a difference."""
        return {
            "class": key[0],
            "metric": key[1],
            **_cells("before", before),
            **_cells("after", after),
            **dict.fromkeys(_DIFFERENCE, NOT_ESTIMABLE),
            "n": len(self.labels),
            "n_recalibrated_on": self.recalibration.n_patients,
            "method": self.recalibration.method,
        }


_DIFFERENCE = ("difference", "ci_low", "ci_high", "p_value")


def _check_enough(counts: NDArray[np.intp], classes: Sequence[str]) -> None:
    n = int(counts.sum())
    if n < FEWEST:
        raise CohortError(
            f"recalibration: expected {FEWEST} labelled patients or more, found {n}; name more of them"
        )
    for name, count in zip(classes, counts, strict=True):
        if count < FEWEST_OF_CLASS:
            raise CohortError(
                f"recalibration: expected {FEWEST_OF_CLASS} patients or more of each class, found {number_of(int(count), 'patient')} of {name}"
            )


def _mode(
    logs: NDArray[np.float64], labels: NDArray[np.intp], *, has_intercepts: bool
) -> NDArray[np.float64]:
    """Return the mode of the posterior: log T, and the intercept of each class, 0 without intercepts."""
    rows, n_classes = np.arange(len(labels)), logs.shape[1]

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values if has_intercepts else np.concatenate([values, np.zeros(n_classes)])

    def loss(values: NDArray[np.float64]) -> float:
        own = spread(values)
        said = log_softmax(logs * np.exp(-own[0]) + own[1:], axis=1)[rows, labels]
        prior = (own[0] / _SD_LOG_TEMPERATURE) ** 2 + ((own[1:] / _SD_INTERCEPT) ** 2).sum()
        return float(prior / 2 - said.sum())

    start = np.zeros(1 + n_classes if has_intercepts else 1)
    return spread(np.asarray(minimize(loss, start, method="L-BFGS-B").x))


def _cells(name: str, estimate: Estimate) -> Mapping[str, Any]:
    return {
        name: or_not_estimable(estimate.value),
        f"{name}_ci_low": or_not_estimable(estimate.low),
        f"{name}_ci_high": or_not_estimable(estimate.high),
    }
