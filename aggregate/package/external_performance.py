"""How a package does on labelled patients of another cohort: the tables of stage 2, and the drop against the internal estimate."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.cohort.patient_facts import CohortFacts, PatientFacts, describe_patient
from aggregate.package.loaded_package import Answer, Package
from aggregate.package.new_patients import STAGE, NewPatients
from aggregate.package.predicted_tables import TopTable
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import Estimate
from aggregate.statistics.measures import MACRO
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.tables.calibration import CALIBRATION
from aggregate.tables.decisions import THRESHOLDS, rate_estimate
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import ALL, Row, interval_cells, numeric, or_not_estimable
from aggregate.tables.shared_columns import CLASS, bounds, interval
from aggregate.tables.table import Column, Kind
from aggregate.tables.write import write_tables
from pipeline.cohort import Exclusion

EXTERNAL_DROP = TopTable(
    "external_drop.csv",
    "class x metric",
    (
        CLASS,
        Column(
            "metric",
            "Name of the metric, as in tables/performance.csv; slope and intercept as in tables/calibration.csv",
        ),
        Column(
            "internal",
            "Estimate of the package, by cross-validation of the training patients",
            "metric",
            Kind.ESTIMATE,
        ),
        *bounds("metric", kind=Kind.ESTIMATE, low="internal_ci_low", high="internal_ci_high"),
        Column("external", "Estimate of these patients", "metric", Kind.ESTIMATE),
        *bounds("metric", kind=Kind.ESTIMATE, low="external_ci_low", high="external_ci_high"),
        *interval("External minus internal", "metric", name="difference"),
        Column("n_internal", "Patients of the internal estimate", "patients", Kind.NUMBER),
        Column("n_external", "Patients of the external estimate", "patients", Kind.NUMBER),
    ),
    place=40,
    names_weights=False,
)
MOVER = "from both intervals, cohorts independent (Zou and Donner 2008)"
_COMPARED = {
    MACRO: ("auc", "balanced_accuracy", "log_loss", "brier"),
    "": ("auc", "sensitivity", "specificity", "brier"),
}
"""Metrics of all classes together, and of each class."""
_CALIBRATION = ("slope", "intercept")


def write_external(
    tables: ResultTables, package: Package, new: NewPatients, answers: Sequence[Answer]
) -> list[Row]:
    """Write the tables of stage 2 of the patients with a label, and external_drop.csv; return the rows of the latter.

    Args:
        tables: of the folder that takes them.
        package: that was asked.
        new: the patients, some of them with a label.
        answers: for all of them.
    """
    labelled = new.of(new.is_labelled)
    known = [answer for answer, is_known in zip(answers, new.is_labelled, strict=True) if is_known]
    predictions = predictions_of_answers(package, labelled, known)
    settings = StatisticsSection(confidence=package.record.confidence)
    write_tables(tables, predictions, _facts(package, labelled), settings)
    tables.write(THRESHOLDS, fixed_threshold_rows(package, predictions, settings))
    tables.write(EXCLUDED, map(vars, (*new.exclusions, *_unlabelled(new))))
    tables.write(EXTERNAL_DROP, drop_rows(ResultTables(package.folder), tables, package.classes))
    return tables.read(EXTERNAL_DROP)


def predictions_of_answers(package: Package, labelled: NewPatients, answers: Sequence[Answer]) -> Predictions:
    """Return what was answered as predictions of one repeat without folds."""
    table = np.array([[answer.probabilities[name] for name in package.classes] for answer in answers])
    patients = labelled.patients
    has_bags = bool(patients.bag_sets)
    return Predictions(
        classes=package.classes,
        patient_ids=patients.patient_ids,
        labels=patients.codes,
        fold=np.zeros((1, len(patients)), dtype=np.intp),
        probabilities={package.record.model: table[None]},
        n_slices=patients.bag_sizes() if has_bags else np.zeros(len(patients), dtype=np.intp),
        phases=tuple(answer.combination for answer in answers) if has_bags else ("",) * len(answers),
    )


def fixed_threshold_rows(
    package: Package, predictions: Predictions, settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of thresholds.csv: what the thresholds of the package reach on these patients."""
    weights = draw_resamples(predictions.labels, draws=settings.draws, seed=settings.seed)
    sample = Sample(predictions.labels, weights)
    probabilities = predictions.probabilities[package.record.model][0]
    for k, name in enumerate(package.classes):
        limit = package.decisions.thresholds.get(name)
        is_positive = predictions.labels == k
        called = (probabilities[:, k] >= (math.inf if limit is None else limit)).astype(float)
        rates = {
            "sensitivity": rate_estimate(called, is_positive, sample, settings.confidence),
            "specificity": rate_estimate(1 - called, ~is_positive, sample, settings.confidence),
        }
        yield {
            "model": package.record.model,
            "class": name,
            "rule": package.decisions.rule,
            "repeat": ALL,
            "fold": ALL,
            "threshold": or_not_estimable(limit),
            "chosen_on": "the training patients of the package",
            "n_chosen_on": package.calibration.n_patients,
            "n_positive_chosen_on": None,
            **{
                column: value
                for rate, estimate in rates.items()
                for column, value in _rate_cells(rate, estimate if limit is not None else None).items()
            },
            "n": len(is_positive),
            "n_positive": int(is_positive.sum()),
        }


def drop_rows(
    internal: ResultTables, external: ResultTables, classes: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of external_drop.csv, from the tables of the package and those of the new patients."""
    before, after = ({**_performance(t), **_calibration(t)} for t in (internal, external))
    for name in (MACRO, *classes):
        metrics = _COMPARED.get(name, (*_COMPARED[""], *_CALIBRATION))
        for metric in metrics:
            own, other = before.get((name, metric)), after.get((name, metric))
            if own is None or other is None:
                continue
            yield {
                "class": name,
                "metric": metric,
                **_estimate_cells("internal", own),
                **_estimate_cells("external", other),
                **interval_cells(difference_of(_estimate(other), _estimate(own)), name="difference"),
                "n_internal": int(own["n"]),
                "n_external": int(other["n"]),
            }


def difference_of(a: Estimate, b: Estimate) -> Estimate:
    """Return a - b of two independent cohorts, its interval recovered from theirs.

    The method of variance estimates recovery (Zou and Donner, Statistics in Medicine 2008; 27:1693) needs the two intervals
    alone, which may lie unevenly about their estimates. So a package need not hold predictions of its patients.
    """
    if a.value is None or b.value is None:
        return Estimate(None, None, None, next(one.method for one in (a, b) if one.value is None))
    value = a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(value, None, None, "interval not estimable: one of the estimates has none")
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high, MOVER)


def _performance(tables: ResultTables) -> Mapping[tuple[str, str], Row]:
    return {(row["class"], row["metric"]): row for row in tables.read(PERFORMANCE)}


def _calibration(tables: ResultTables) -> Mapping[tuple[str, str], Row]:
    return {
        (row["class"], row["measure"]): row
        for row in tables.read(CALIBRATION)
        if row["measure"] in _CALIBRATION
    }


def _estimate(row: Row) -> Estimate:
    value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
    return Estimate(value, low, high, str(row["ci_method"]))


def _estimate_cells(name: str, row: Row) -> Mapping[str, Any]:
    return {name: row["estimate"], f"{name}_ci_low": row["ci_low"], f"{name}_ci_high": row["ci_high"]}


def _rate_cells(name: str, estimate: Estimate | None) -> Mapping[str, Any]:
    found = estimate or Estimate(None, None, None, "")
    return {
        name: or_not_estimable(found.value),
        f"{name}_ci_low": or_not_estimable(found.low),
        f"{name}_ci_high": or_not_estimable(found.high),
    }


def _facts(package: Package, labelled: NewPatients) -> CohortFacts:
    """Describe the patients with the columns that the model reads; every other column stays out of the results."""
    patients, rows = labelled.patients, labelled.rows
    read, phases = package.contract.covariates, package.contract.phases
    if patients.bag_sets:
        described = [describe_patient(patients.first_bag(i), row, phases) for i, row in enumerate(rows)]
    else:  # a model of columns alone
        described = [
            PatientFacts(row.patient_id, row.label or "", row.centre, covariates=dict(row.covariates))
            for row in rows
        ]
    return CohortFacts(tuple(facts.with_covariates(read) for facts in described))


def _unlabelled(new: NewPatients) -> Iterator[Exclusion]:
    for patient_id, is_known in zip(new.patients.patient_ids, new.is_labelled, strict=True):
        if not is_known:
            yield Exclusion(
                patient_id,
                "",
                STAGE,
                "predicted, but without a label in the cohort table, so in no table here",
            )
