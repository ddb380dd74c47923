"""subgroups.csv: performance by centre, tumour size, missing phases and covariates."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.intervals import Estimate, without_estimate
from aggregate.statistics.measures import (
    MACRO,
    Measured,
    balanced_accuracy,
    brier_losses,
    class_auc,
    macro_auc,
)
from aggregate.statistics.resamples import Sample, draw_resamples
from aggregate.statistics.training import design_effect
from aggregate.tables.derived import DerivedTable
from aggregate.tables.performance import estimate_of, group_sizes
from aggregate.tables.rows import interval_cells
from aggregate.tables.shared_columns import CLASS, METRIC_COMPARED, MODEL, N_POSITIVE, N, interval
from aggregate.tables.table import Column
from pipeline.covariates import Covariate, Kind, read_covariate
from pipeline.errors import ConfigError

SUBGROUPS = DerivedTable(
    "subgroups.csv",
    "model x subgroup x class x metric",
    (
        MODEL,
        Column("subgroup", "Variable that defines the subgroups"),
        Column("level", "Value of that variable in this subgroup; numbers are split at their median"),
        CLASS,
        METRIC_COMPARED,
        *interval("The metric on the patients of this subgroup only", "metric"),
        N,
        N_POSITIVE,
    ),
    place=120,
    rows=lambda basis: subgroup_rows(basis.predictions, basis.cohort, basis.settings),
    notes=(
        "Subgroups of fewer than 10 patients (configurable) show their size only. Differences between "
        "subgroups are not tested."
    ),
)

_MOST_LEVELS = 6
"""A column of numbers with more values than this is split at its median."""


@dataclass(frozen=True, eq=False)
class Subgroup:
    """Some of the patients.

    Attributes:
        name: by what they were chosen.
        level: what they have in common.
        members: bool (n,).
    """

    name: str
    level: str
    members: NDArray[np.bool_]


def subgroups_of(cohort: CohortFacts, settings: StatisticsSection) -> list[Subgroup]:
    """Split the cohort by centre, tumour volume, slice thickness, missing phases and the covariates asked for.

    Raises:
        ConfigError: a covariate is no column of the cohort table.
    """
    patients = cohort.patients
    groups = _levels("centre", [p.centre or "" for p in patients])
    groups += _by_number("tumour volume (ml)", [p.tumour_volume_ml for p in patients])
    groups += _by_number("slice thickness (mm)", [p.slice_thickness_mm for p in patients])
    groups += _levels("phases", ["incomplete" if p.phases_missing else "complete" for p in patients])
    for phase in cohort.phase_names:
        groups += _levels("missing phase", [phase if phase in p.phases_missing else "" for p in patients])
    for name in settings.subgroup_covariates:
        if name not in cohort.covariate_names:
            known = ", ".join(cohort.covariate_names) or "none"
            raise ConfigError(
                f"aggregate.statistics.subgroup_covariates names {name!r}; covariates of the cohort table: {known}"
            )
        cells = {p.patient_id: p.covariates.get(name, "") for p in patients}
        groups += _by_covariate(read_covariate(name, cells))
    # A group of everybody is no subgroup.
    return [group for group in groups if not group.members.all()]


def _by_covariate(covariate: Covariate) -> list[Subgroup]:
    match covariate.kind:
        case Kind.NUMBER:
            return _by_number(covariate.name, list(covariate.numbers.values()))
        case Kind.DATE:
            return _by_date(covariate.name, list(covariate.numbers.values()))
        case Kind.CATEGORY:
            return _levels(covariate.name, list(covariate.words.values()))


def _by_date(name: str, values: Sequence[float | None]) -> list[Subgroup]:
    """Split at the median day; the days are ordinals."""
    days = np.array([np.nan if value is None else value for value in values], dtype=float)
    if np.isnan(days).all():
        return []
    limit = math.floor(np.nanmedian(days))
    text = date.fromordinal(limit).isoformat()
    halves = {f"up to {text}": days <= limit, f"after {text}": days > limit}
    return [Subgroup(name, level, members) for level, members in halves.items() if members.any()]


def _levels(name: str, values: Sequence[str]) -> list[Subgroup]:
    of_patients = np.array(values, dtype=object)
    return [Subgroup(name, level, of_patients == level) for level in sorted(set(values) - {""})]


def _by_number(name: str, values: Sequence[float | None]) -> list[Subgroup]:
    """Split by each value, or at the median where there are many."""
    numbers = np.array([np.nan if value is None else value for value in values], dtype=float)
    known = np.unique(numbers[np.isfinite(numbers)])
    if len(known) <= _MOST_LEVELS:
        return [Subgroup(name, f"{value:g}", numbers == value) for value in known]
    limit = _readable_median(numbers)
    text = np.format_float_positional(limit, trim="-")
    halves = {f"up to {text}": numbers <= limit, f"above {text}": numbers > limit}
    return [Subgroup(name, level, members) for level, members in halves.items() if members.any()]


def _readable_median(numbers: NDArray[np.float64]) -> float:
    """Return the median in as few digits, three or more, as leave everybody in the same half."""
    median = np.nanmedian(numbers)
    for digits in range(3, 17):
        rounded = float(f"{median:.{digits}g}")
        if np.array_equal(numbers <= rounded, numbers <= median):
            return rounded
    return float(median)


def subgroup_rows(
    predictions: Predictions, cohort: CohortFacts, settings: StatisticsSection
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of subgroups.csv; each subgroup is resampled by itself, its classes keeping their sizes."""
    groups = subgroups_of(cohort, settings)
    weights = [
        draw_resamples(predictions.labels[group.members], draws=settings.draws, seed=settings.seed)
        for group in groups
    ]
    for model, probabilities in predictions.probabilities.items():
        losses = brier_losses(predictions.labels, probabilities)
        effect = design_effect(losses, predictions.labels, predictions.fold)
        for group, of_group in zip(groups, weights, strict=True):
            labels = predictions.labels[group.members]
            sample = Sample(labels, of_group, effect).of_share(len(labels) / len(predictions.labels))
            measured = _measures(labels, probabilities[:, group.members], of_group, predictions.classes)
            for (name, metric), found in measured.items():
                sizes = group_sizes(labels, predictions.classes, name)
                estimate = _too_small(len(labels), min(sizes), settings) or estimate_of(
                    found, metric, sizes, settings.confidence, sample
                )
                yield {
                    "model": model,
                    "subgroup": group.name,
                    "level": group.level,
                    "class": name,
                    "metric": metric,
                    **interval_cells(estimate),
                    "n": len(labels),
                    "n_positive": None if name == MACRO else sizes[0],
                }


def _too_small(n: int, smallest: int, settings: StatisticsSection) -> Estimate | None:
    """Return why a subgroup gets no estimate: an interval from 0.01 to 0.99 looks like a finding and is none."""
    if n < settings.subgroup_minimum:
        return without_estimate(f"fewer than {settings.subgroup_minimum} patients")
    if smallest < settings.subgroup_class_minimum:
        return without_estimate(f"fewer than {settings.subgroup_class_minimum} patients of a class")
    return None


def _measures(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> Measured:
    return {
        (MACRO, "auc"): macro_auc(labels, probabilities, weights),
        (MACRO, "balanced_accuracy"): balanced_accuracy(labels, probabilities, weights),
        **{(name, "auc"): class_auc(labels, probabilities, weights, k) for k, name in enumerate(classes)},
    }
