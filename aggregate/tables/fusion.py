"""fusion.csv and fusion_patients.csv: imaging alone, biopsy alone, both by a rule, and models of both, asked about one class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.study_cohort import UNSEEN
from aggregate.config import FusionSection
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.fusion_rules import both_of, either_of, names_class
from aggregate.statistics.intervals import Estimate, without_estimate
from aggregate.statistics.measures import MACRO, class_auc, macro_auc
from aggregate.statistics.resamples import draw_resamples
from aggregate.statistics.training import trained_sample
from aggregate.tables.decisions import rate_estimate
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import estimate_of, group_sizes
from aggregate.tables.predictions import read_predictions
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import or_not_estimable
from aggregate.tables.shared_columns import LABEL, PATIENT_ID, N, bounds
from aggregate.tables.table import Column, Kind, Step, Table
from pipeline.errors import ResultsError

IMAGING, BIOPSY = "imaging alone", "biopsy alone"
EITHER, BOTH = "either positive", "both agree"
EVERYBODY, WITH_BOTH = "all", "with scans and biopsy"
SAVED, LOST = "saved", "lost"


def _measured(name: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(name, meaning, "0 to 1", Kind.ESTIMATE),
        *bounds("0 to 1", kind=Kind.ESTIMATE, low=f"{name}_ci_low", high=f"{name}_ci_high"),
    )


_WAY = Column("way", "How the patient is called: one model alone, a rule on two, or a model of both")
_MODEL = Column("model", "Model, or the two models that the rule joins")
_POSITIVE = Column("class", "Class asked about; a patient is positive if it is called")
FUSION = Table(
    "fusion.csv",
    "group of patients x way",
    (
        Column("patients", "Group of patients", "", Kind.TEXT),
        _WAY,
        _MODEL,
        _POSITIVE,
        N,
        Column("n_positive", "Of these, patients of the class", "patients", Kind.COUNT),
        Column("n_imaging", "Patients whom the model of the scans sees", "patients", Kind.COUNT),
        Column("n_biopsy", "Patients whom the model of the biopsies sees", "patients", Kind.COUNT),
        *_measured("sensitivity", "Share of the patients of the class who are called so"),
        *_measured("specificity", "Share of the other patients who are not called so"),
        *_measured("auc", "Area under the ROC curve of the class against the others"),
        *_measured("macro_auc", "Mean over the classes of the AUC of each against the others"),
        Column(
            "saved_positive",
            "Patients of the class called here, and missed by imaging alone",
            "patients",
            Kind.COUNT,
        ),
        Column(
            "lost_positive",
            "Patients of the class missed here, and called by imaging alone",
            "patients",
            Kind.COUNT,
        ),
        Column("saved_other", "Other patients called by imaging alone, and not here", "patients", Kind.COUNT),
        Column("lost_other", "Other patients called here, and not by imaging alone", "patients", Kind.COUNT),
    ),
    place=152,
    step=Step.FUSION,
    words=(
        "way",
        {
            IMAGING: "The model of the scans; whom it does not see is not called",
            BIOPSY: "The model of the biopsies; whom it does not see is not called",
            EITHER: "Called by any of the two that sees the patient",
            BOTH: "Called by both; whom only one of them sees is not called",
        },
    ),
    notes=(
        "The same patients, folds and repeats in every row. Rates and areas are means over the repeats, with intervals as in "
        "performance.csv; saved and lost patients are whole ones, called by their mean probability over the repeats, and "
        "fusion_patients.csv names them. In the areas of a model alone, a patient whom it does not see counts with the class "
        "shares that it predicts for everybody it does not see. The second group of patients is there where somebody lacks scans "
        "or biopsy. A combined model fits the models inside itself, with other random numbers, and so may call a patient who lacks one "
        "otherwise than the model alone. Differences between the rows are not tested here: comparisons.csv has those of the models."
    ),
)
FUSION_PATIENTS = Table(
    "fusion_patients.csv",
    "patient x way",
    (
        PATIENT_ID,
        LABEL,
        Column("has_imaging", "Whether the model of the scans sees the patient", "", Kind.YES_NO),
        Column("has_biopsy", "Whether the model of the biopsies sees the patient", "", Kind.YES_NO),
        _WAY,
        _MODEL,
        Column(
            "says",
            "Most probable class, by the mean over the repeats; empty where the model sees nothing of the patient",
        ),
        Column(
            "p_positive",
            "Probability of the class asked about, mean over the repeats",
            "0 to 1",
            Kind.PROBABILITY,
        ),
        Column("called", "Whether the patient is called positive", "", Kind.YES_NO),
        Column(
            "against_imaging",
            "saved: right here and wrong by imaging alone; lost: the other way round; otherwise empty",
        ),
    ),
    place=154,
    step=Step.FUSION,
    notes="Right means: called, of the class; not called, of another. Which of the other classes is said does not count here.",
)


@dataclass(frozen=True, eq=False)
class Way:
    """One way to call patients.

    Attributes:
        name: as in the tables.
        model: what it rests on.
        probabilities: float64 (repeats, n, classes).
        whole: float64 (n, classes), of whole patients.
        sees: bool (n,), of which patients it has data.
    """

    name: str
    model: str
    probabilities: NDArray[np.float64]
    whole: NDArray[np.float64]
    sees: NDArray[np.bool_]

    def of(self, members: NDArray[np.bool_]) -> "Way":
        """Return the same for some of the patients."""
        return replace(
            self,
            probabilities=self.probabilities[:, members],
            whole=self.whole[members],
            sees=self.sees[members],
        )

    def called(self, positive: int) -> NDArray[np.bool_]:
        """Say which whole patients are called positive (n,)."""
        return names_class(self.whole, positive) & self.sees


def write_fusion(tables: ResultTables, fusion: FusionSection, settings: StatisticsSection) -> None:
    """Write fusion.csv and fusion_patients.csv from predictions.csv and excluded.csv.

    Raises:
        ResultsError: one of these is missing or lacks a model.
    """
    predictions = read_predictions(tables)
    ways = ways_of(predictions, unseen_of(tables), fusion)
    tables.write(FUSION, fusion_rows(predictions, ways, fusion, settings))
    tables.write(FUSION_PATIENTS, patient_rows(predictions, ways, fusion))


def unseen_of(tables: ResultTables) -> Mapping[str, frozenset[str]]:
    """Return by model the patients of whom it has no data, as excluded.csv tells."""
    found: dict[str, set[str]] = {}
    for row in tables.read(EXCLUDED):
        if row["stage"].startswith(UNSEEN):
            found.setdefault(row["stage"].removeprefix(UNSEEN), set()).add(row["patient_id"])
    return {model: frozenset(names) for model, names in found.items()}


def ways_of(
    predictions: Predictions, unseen: Mapping[str, frozenset[str]], fusion: FusionSection
) -> list[Way]:
    """Return imaging alone, biopsy alone, the two rules, and the combined models.

    Raises:
        ResultsError: there are no predictions of a model, or no such class.
    """
    alone = [
        _model(predictions, unseen, name, way)
        for name, way in ((fusion.imaging, IMAGING), (fusion.biopsy, BIOPSY))
    ]
    positive = _positive(predictions, fusion)
    said, whole = np.stack([one.probabilities for one in alone]), np.stack([one.whole for one in alone])
    sees = np.stack([one.sees for one in alone])
    together = f"{fusion.imaging} + {fusion.biopsy}"
    rules = [
        Way(
            name,
            together,
            rule(said, sees, positive),
            rule(whole, sees, positive),
            np.asarray(np.any(sees, axis=0)),
        )
        for name, rule in ((EITHER, either_of), (BOTH, both_of))
    ]
    return [*alone, *rules, *(_model(predictions, unseen, name, name) for name in fusion.combined)]


def fusion_rows(
    predictions: Predictions, ways: Sequence[Way], fusion: FusionSection, settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of fusion.csv: everybody, and those with both where somebody lacks one."""
    has_both = ways[0].sees & ways[1].sees
    groups = {EVERYBODY: np.ones(len(has_both), dtype=np.bool_)}
    if has_both.any() and not has_both.all():
        groups[WITH_BOTH] = has_both
    positive = _positive(predictions, fusion)
    for group, members in groups.items():
        labels = predictions.labels[members]
        chosen = replace(predictions, labels=labels, fold=predictions.fold[:, members], probabilities={})
        weights = draw_resamples(labels, draws=settings.draws, seed=settings.seed)
        imaging, biopsy = (way.of(members) for way in ways[:2])
        for way in (way.of(members) for way in ways):
            yield {
                "patients": group,
                "way": way.name,
                "model": way.model,
                "class": fusion.positive,
                "n": len(labels),
                "n_positive": int(np.sum(labels == positive)),
                "n_imaging": int(imaging.sees.sum()),
                "n_biopsy": int(biopsy.sees.sum()),
                **_measures(way, chosen, weights, fusion, settings),
                **_changes(way.called(positive), imaging.called(positive), labels == positive),
            }


def patient_rows(
    predictions: Predictions, ways: Sequence[Way], fusion: FusionSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of fusion_patients.csv."""
    positive = _positive(predictions, fusion)
    imaging = ways[0].called(positive)
    for i, patient_id in enumerate(predictions.patient_ids):
        label = int(predictions.labels[i])
        for way in ways:
            called = bool(way.called(positive)[i])
            is_right, was_right = called == (label == positive), bool(imaging[i]) == (label == positive)
            yield {
                "patient_id": patient_id,
                "label": predictions.classes[label],
                "has_imaging": bool(ways[0].sees[i]),
                "has_biopsy": bool(ways[1].sees[i]),
                "way": way.name,
                "model": way.model,
                "says": predictions.classes[int(way.whole[i].argmax())] if way.sees[i] else "",
                "p_positive": float(way.whole[i, positive]) if way.sees[i] else None,
                "called": called,
                "against_imaging": "" if is_right == was_right else SAVED if is_right else LOST,
            }


def _model(predictions: Predictions, unseen: Mapping[str, frozenset[str]], name: str, way: str) -> Way:
    if name not in predictions.probabilities:
        raise ResultsError(f"fusion: no predictions of model {name!r}; found {', '.join(predictions.models)}")
    probabilities = predictions.probabilities[name]
    sees = np.array([one not in unseen.get(name, ()) for one in predictions.patient_ids], dtype=np.bool_)
    return Way(way, name, probabilities, probabilities.mean(axis=0), sees)


def _positive(predictions: Predictions, fusion: FusionSection) -> int:
    if fusion.positive not in predictions.classes:
        raise ResultsError(f"fusion: no class {fusion.positive!r}; found {', '.join(predictions.classes)}")
    return predictions.classes.index(fusion.positive)


def _measures(
    way: Way,
    predictions: Predictions,
    weights: NDArray[np.float64],
    fusion: FusionSection,
    settings: StatisticsSection,
) -> Mapping[str, Any]:
    """Measure a way on the patients of some predictions, of which only labels, folds and classes are used."""
    labels, classes = predictions.labels, predictions.classes
    positive = _positive(predictions, fusion)
    sample = trained_sample(labels, way.probabilities, predictions.fold, weights)
    called = (names_class(way.probabilities, positive) & way.sees).mean(axis=0)
    is_positive = labels == positive
    found: dict[str, Estimate] = {}
    for name, rate, members in (
        ("sensitivity", called, is_positive),
        ("specificity", 1 - called, ~is_positive),
    ):
        found[name] = (
            rate_estimate(rate, members, sample, settings.confidence)
            if members.any()
            else without_estimate("no such patient")
        )
    for name, measured, group in (
        ("auc", class_auc(labels, way.probabilities, weights, positive), classes[positive]),
        ("macro_auc", macro_auc(labels, way.probabilities, weights), MACRO),
    ):
        sizes = group_sizes(labels, classes, group)
        found[name] = estimate_of(measured, "auc", sizes, settings.confidence, sample)
    return {key: value for name, one in found.items() for key, value in _cells(name, one).items()}


def _cells(name: str, estimate: Estimate) -> Mapping[str, Any]:
    return {
        name: or_not_estimable(estimate.value),
        f"{name}_ci_low": or_not_estimable(estimate.low),
        f"{name}_ci_high": or_not_estimable(estimate.high),
    }


def _changes(
    called: NDArray[np.bool_], by_imaging: NDArray[np.bool_], is_positive: NDArray[np.bool_]
) -> Mapping[str, int]:
    """Count the patients called otherwise than by imaging alone."""
    more, fewer = called & ~by_imaging, by_imaging & ~called
    return {
        "saved_positive": int(np.sum(more & is_positive)),
        "lost_positive": int(np.sum(fewer & is_positive)),
        "saved_other": int(np.sum(fewer & ~is_positive)),
        "lost_other": int(np.sum(more & ~is_positive)),
    }
