"""Correlation of model scores with radiological concepts, and linear probes of the concepts in the features."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from scipy.stats import t as student
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from aggregate.cohort.bag_sets import BagSet
from aggregate.cohort.folds import Fold
from aggregate.explain.resampling import Resampling
from aggregate.statistics.comparisons import holm
from aggregate.tables.shared_columns import MODEL, bounds
from aggregate.tables.table import Column, Kind, Step, Table

FEWEST_PATIENTS = 8
"""Fewest patients with a concept for a correlation."""
_ALPHAS = tuple(np.logspace(0, 6, 13))
_SHUFFLES = 20

_N = Column("n", "Patients with the concept", "patients", Kind.COUNT)
CONCEPT_SCORES = Table(
    "concept_scores.csv",
    "model x class x concept",
    (
        MODEL,
        Column("class", "Class whose probability is correlated"),
        Column("concept", "Column of concepts.csv"),
        Column(
            "spearman",
            "Rank correlation over patients of the out-of-fold probability and the concept",
            "-1 to 1",
            Kind.NUMBER,
        ),
        *bounds("-1 to 1", kind=Kind.NUMBER),
        Column("p_value", "Two-sided p-value of no correlation", "", Kind.P_VALUE),
        Column(
            "p_holm", "After Holm's adjustment over the classes and concepts of the model", "", Kind.P_VALUE
        ),
        Column(
            "spearman_reference",
            "Correlation of the concept with the reference label, as a perfect model would have it",
            "-1 to 1",
            Kind.NUMBER,
        ),
        _N,
    ),
    place=240,
    step=Step.EXPLANATIONS,
)
CONCEPT_PROBES = Table(
    "concept_probes.csv",
    "concept",
    (
        Column("concept", "Column of concepts.csv"),
        Column(
            "spearman",
            "Rank correlation of the measured concept with the out-of-fold prediction of a ridge probe on the features",
            "-1 to 1",
            Kind.NUMBER,
        ),
        *bounds("-1 to 1", kind=Kind.NUMBER),
        Column(
            "r_squared",
            "Share of the variance that the out-of-fold predictions of the probe explain; may be below 0",
            "",
            Kind.NUMBER,
        ),
        Column(
            "spearman_shuffled",
            "Control: the same probe on shuffled values of the concept",
            "-1 to 1",
            Kind.NUMBER,
        ),
        Column(
            "spearman_size",
            "Control: correlation of the concept with the number of slices",
            "-1 to 1",
            Kind.NUMBER,
        ),
        _N,
    ),
    place=250,
    step=Step.EXPLANATIONS,
)


@dataclass(frozen=True, eq=False)
class Concepts:
    """The measured concepts of the patients.

    Attributes:
        names: concept names.
        values: float64 (patients, concepts); NaN where a phase is missing.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]


def score_rows(
    scores: Mapping[str, NDArray[np.float64]],
    concepts: Concepts,
    labels: NDArray[np.intp],
    classes: Sequence[str],
    resampling: Resampling,
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of concept_scores.csv: model x class x concept.

    The correlation is between the out-of-fold probability of a class (mean over the repeats) and the concept.
    For comparison, the rows hold the correlation of the concept with the reference label, which a perfect model
    would reach. Holm's correction is over the classes and concepts of one model.

    Args:
        scores: model -> float64 (patients, classes).
        concepts: of the same patients.
        labels: intp (patients,).
        classes: class names.
        resampling: of the same patients.
    """
    columns = np.concatenate([p.T for p in scores.values()])  # (models x classes, patients)
    is_class = (np.arange(len(classes))[:, None] == labels).astype(np.float64)
    told = [_cells_of_concept(columns, is_class, values, resampling) for values in concepts.values.T]
    for m, model in enumerate(scores):
        rows = [
            {"model": model, "class": name, "concept": concept, **cells[m * len(classes) + k]}
            for k, name in enumerate(classes)
            for concept, cells in zip(concepts.names, told, strict=True)
        ]
        tested = [row for row in rows if row["p_value"] is not None]
        if tested:
            adjusted = holm([row["p_value"] for row in tested])
            for row, p in zip(tested, adjusted, strict=True):
                row["p_holm"] = p
        yield from rows


def _cells_of_concept(
    columns: NDArray[np.float64],
    is_class: NDArray[np.float64],
    values: NDArray[np.float64],
    resampling: Resampling,
) -> list[dict[str, Any]]:
    """Correlate a concept with every score (models x classes, patients), and with the labels (classes, patients)."""
    known = np.flatnonzero(np.isfinite(values))
    cells = [{**dict.fromkeys(CONCEPT_SCORES.header()[3:]), "n": len(known)} for _ in columns]
    if len(known) < FEWEST_PATIENTS or np.ptp(values[known]) == 0:
        return cells
    columns, is_class, values = columns[:, known], is_class[:, known], values[known]
    references = rank_correlation_draws(is_class, values, resampling.weights[known, :1])[:, 0]
    varying = np.flatnonzero(np.ptp(columns, axis=1) > 0)
    draws = rank_correlation_draws(columns[varying], values, resampling.weights[known])
    for i, of_score, p in zip(varying, draws, rank_p_values(draws[:, 0], len(known)), strict=True):
        found = resampling.correlation_cells(of_score, len(known))
        cells[i] |= {"spearman": found["estimate"], "ci_low": found["ci_low"], "ci_high": found["ci_high"]}
        reference = float(references[i % len(is_class)])  # NaN where all or none are of the class
        cells[i] |= {"p_value": float(p), "spearman_reference": reference}
    return cells


def rank_correlation_draws(
    a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Spearman's correlation in every draw of the patients, float64 (..., draws).

    The ranks are computed once on the whole cohort: within a draw they are the same up to ties and spacing, and a
    weighted correlation of fixed ranks saves thousands of sorts.

    Args:
        a: float64 (..., n), one or many.
        b: float64 (n,).
        weights: float64 (n, draws), how often each patient counts.
    """
    ranks, other = rankdata(a, axis=-1), rankdata(b)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, mean_of_other = ranks @ weights / total, other @ weights / total
        square = ranks**2 @ weights / total - mean**2
        square_of_other = other**2 @ weights / total - mean_of_other**2
        product = (ranks * other) @ weights / total - mean * mean_of_other
        correlation: NDArray[np.float64] = product / np.sqrt(square * square_of_other)
    return correlation


def rank_p_values(correlations: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the two-sided p-values of Spearman's correlations of n pairs by Student's t, as `spearmanr` does."""
    bounded = np.clip(correlations, -1, 1)
    with np.errstate(divide="ignore"):
        t = bounded * np.sqrt((n - 2) / ((1 + bounded) * (1 - bounded)))
    p_values: NDArray[np.float64] = 2 * student.sf(np.abs(t), n - 2)
    return p_values


def phase_means(bags: BagSet, patients: Sequence[int]) -> NDArray[np.float64]:
    """Return one row per patient: the mean frozen features of all phases, concatenated; NaN for a missing phase.

    Args:
        bags: bags of all patients.
        patients: indices of the patients to return.
    """
    present = {row: bags[i] for row, i in enumerate(patients) if bags.phases_present(i)}
    first = next(iter(present.values()))
    n_phases, width = len(first.header.phase_names), first.features.shape[1]
    table = np.full((len(patients), n_phases, width), np.nan)
    for row, bag in present.items():
        for phase in np.unique(bag.phase):
            table[row, phase] = bag.features[bag.phase == phase].mean(axis=0, dtype=np.float64)
    return table.reshape(len(patients), -1)


def probe_rows(
    features: NDArray[np.float64],
    size: NDArray[np.float64],
    concepts: Concepts,
    folds: Sequence[Fold],
    resampling: Resampling,
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of concept_probes.csv: how well a linear probe on the frozen features predicts each concept.

    The probe (ridge regression, strength chosen within the training patients) is trained on train and tune and
    predicts test, with the folds of the study. Controls: the same probe on shuffled values of the concept (mean of
    20), and the rank correlation of the concept with the number of slices.

    Args:
        features: float64 (patients, d).
        size: float64 (patients,), instances in the bag.
        concepts: of the same patients.
        folds: one repeat, testing every patient once.
        resampling: of the same patients.
    """
    rng = np.random.default_rng(0)
    for name, values in zip(concepts.names, concepts.values.T, strict=True):
        known = np.isfinite(values)
        row: dict[str, Any] = {
            **dict.fromkeys(CONCEPT_PROBES.header()),
            "concept": name,
            "n": int(known.sum()),
        }
        if known.sum() >= 2 * FEWEST_PATIENTS and np.ptp(values[known]) > 0:
            targets = np.tile(values[:, None], (1, 1 + _SHUFFLES))
            for column in range(1, 1 + _SHUFFLES):
                targets[known, column] = rng.permutation(values[known])
            predicted = _probe(features, targets, folds)
            both = np.flatnonzero(known & np.isfinite(predicted[:, 0]))
            truth, guess = values[both], predicted[both, 0]
            draws = rank_correlation_draws(guess, truth, resampling.weights[both])
            cells = resampling.correlation_cells(draws, len(both))
            by_chance = [_correlation(*pair) for pair in zip(targets.T[1:], predicted.T[1:], strict=True)]
            row |= {
                "spearman": cells["estimate"],
                "ci_low": cells["ci_low"],
                "ci_high": cells["ci_high"],
                "r_squared": float(1 - np.sum((truth - guess) ** 2) / np.sum((truth - truth.mean()) ** 2)),
                "spearman_shuffled": float(np.mean([c for c in by_chance if c is not None] or [np.nan])),
                "spearman_size": _correlation(values, size),
                "n": len(both),
            }
        yield row


def _probe(
    features: NDArray[np.float64], targets: NDArray[np.float64], folds: Sequence[Fold]
) -> NDArray[np.float64]:
    """Predict every column of the targets (patients, columns) out of fold; a patient has NaN in all columns or none."""
    predicted = np.full(targets.shape, np.nan)
    for fold in folds:
        training = np.concatenate([fold.train, fold.tune])
        training = training[np.isfinite(targets[training, 0])]
        if len(training) < FEWEST_PATIENTS:
            continue
        # A missing phase gets the mean of the training patients, which is uninformative.
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            RidgeCV(alphas=_ALPHAS, alpha_per_target=True),
        )
        with threadpool_limits(limits=1):
            predicted[fold.test] = model.fit(features[training], targets[training]).predict(
                features[fold.test]
            )
    return predicted


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < FEWEST_PATIENTS or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return None
    return float(spearmanr(a[known], b[known]).statistic)
