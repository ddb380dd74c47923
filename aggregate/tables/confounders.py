"""confounders.csv: how well the label can be predicted without the tumour's appearance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.measures import MACRO, Measurement, class_auc, macro_auc
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.statistics.training import trained_sample
from aggregate.tables.derived import DerivedTable
from aggregate.tables.performance import estimate_of, group_sizes
from aggregate.tables.rows import interval_cells
from aggregate.tables.shared_columns import CLASS, N_POSITIVE, interval
from aggregate.tables.table import Column, Kind

_METRICS = (
    "auc: AUC of a logistic regression on the confounder alone, on the same folds as the models; auc_of_value: AUC of "
    "the value itself, above 0.5 if the class has the larger values"
)
CONFOUNDERS = DerivedTable(
    "confounders.csv",
    "confounder x class x metric",
    (
        Column("confounder", "Name of the confounder: a fact that is not an image feature"),
        CLASS,
        Column("metric", _METRICS),
        *interval("Area under the ROC curve", "0 to 1"),
        Column("n", "Patients with a value", "patients", Kind.COUNT),
        N_POSITIVE,
    ),
    place=130,
    rows=lambda basis: confounder_rows(basis.predictions, basis.cohort, basis.settings),
    notes="A model that is no better than a confounder may have learned the confounder.",
)
AUC_OF_PREDICTION = "auc"
AUC_OF_VALUE = "auc_of_value"


@dataclass(frozen=True, eq=False)
class _Confounder:
    """A fact about each patient.

    Attributes:
        name: as in the table.
        values: float64 or text (n,).
        known: bool (n,), who has a value.
    """

    name: str
    values: NDArray[Any]
    known: NDArray[np.bool_]

    @property
    def is_number(self) -> bool:
        """Whether the values have an order."""
        return self.values.dtype.kind == "f"


def confounder_rows(
    predictions: Predictions, cohort: CohortFacts, settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of confounders.csv.

    Metric "auc" is that of a logistic regression on the confounder alone, fitted on the same folds as the models;
    "auc_of_value" ranks the patients by the value itself, above 0.5 where the class has the larger values.
    """
    for confounder in _confounders(predictions, cohort):
        known = confounder.known
        labels, values = predictions.labels[known], confounder.values[known]
        weights = draw_resamples(labels, draws=settings.draws, seed=settings.seed)
        predicted = _cross_fitted(confounder, labels, predictions.fold[:, known], len(predictions.classes))
        trained = trained_sample(labels, predicted, predictions.fold[:, known], weights)
        found: dict[tuple[str, str], Measurement] = {
            (MACRO, AUC_OF_PREDICTION): macro_auc(labels, predicted, weights)
        }
        for k, name in enumerate(predictions.classes):
            found[name, AUC_OF_PREDICTION] = class_auc(labels, predicted, weights, k)
            if confounder.is_number:
                ranked = np.broadcast_to(values[None, :, None], (1, len(values), k + 1))
                found[name, AUC_OF_VALUE] = class_auc(labels, ranked, weights, k)
        for (name, metric), measurement in found.items():
            sizes = group_sizes(labels, predictions.classes, name)
            sample = trained if metric == AUC_OF_PREDICTION else Sample(labels, weights)
            yield {
                "confounder": confounder.name,
                "class": name,
                "metric": metric,
                **interval_cells(estimate_of(measurement, metric, sizes, settings.confidence, sample)),
                "n": len(labels),
                "n_positive": None if name == MACRO else sizes[0],
            }


def _confounders(predictions: Predictions, cohort: CohortFacts) -> list[_Confounder]:
    patients = cohort.patients
    found = [
        _of_numbers("bag size (slices)", [float(n) for n in predictions.n_slices]),
        _of_numbers("tumour volume (ml)", [p.tumour_volume_ml for p in patients]),
        _of_numbers("slice thickness (mm)", [p.slice_thickness_mm for p in patients]),
        _of_words("centre", [p.centre or "" for p in patients]),
        _of_words("phases present", ["+".join(p.phases_present) for p in patients]),
    ]
    return [c for c in found if len(set(c.values[c.known].tolist())) > 1]


def _of_numbers(name: str, values: Sequence[float | None]) -> _Confounder:
    numbers = np.array([np.nan if value is None else value for value in values], dtype=float)
    return _Confounder(name, numbers, np.isfinite(numbers))


def _of_words(name: str, values: Sequence[str]) -> _Confounder:
    words = np.array(values, dtype=object)
    return _Confounder(name, words, words != "")


def _cross_fitted(
    confounder: _Confounder, labels: NDArray[np.intp], fold: NDArray[np.intp], n_classes: int
) -> NDArray[np.float64]:
    """Predict each patient from the confounder by a model of the other folds: float64 (repeats, n, classes)."""
    values = confounder.values[confounder.known]
    design = np.log1p(values)[:, None] if confounder.is_number else values[:, None]
    predicted = np.zeros((*fold.shape, n_classes))
    for of_repeat, folds in zip(predicted, fold, strict=True):
        for number in np.unique(folds):
            tested = folds == number
            present = np.unique(labels[~tested])
            if len(present) < 2:
                of_repeat[np.ix_(tested, present)] = 1.0
                continue
            encode = StandardScaler() if confounder.is_number else OneHotEncoder(handle_unknown="ignore")
            model = make_pipeline(encode, LogisticRegression()).fit(design[~tested], labels[~tested])
            of_repeat[np.ix_(tested, present)] = model.predict_proba(design[tested])
    return predicted
