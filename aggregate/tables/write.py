"""Every table that derives from the predictions, written in one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from aggregate.cohort_facts import CohortFacts
from aggregate.predictions import PROBABILITY_DIGITS, Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.calibration import CALIBRATION, CALIBRATION_COLUMNS, calibration_rows
from aggregate.tables.catalogue import CATALOGUE, COLUMNS, COLUMNS_COLUMNS, catalogue_rows
from aggregate.tables.cohort import COHORT, cohort_columns, cohort_rows, covariate_columns, read_cohort_facts
from aggregate.tables.comparisons import COMPARISONS, COMPARISONS_COLUMNS, comparison_rows
from aggregate.tables.confounders import CONFOUNDERS, CONFOUNDERS_COLUMNS, confounder_rows
from aggregate.tables.decisions import (
    DECISION_CURVE,
    DECISION_CURVE_COLUMNS,
    THRESHOLDS,
    THRESHOLDS_COLUMNS,
    decision_rows,
    threshold_rows,
)
from aggregate.tables.performance import (
    CONFUSION,
    CONFUSION_COLUMNS,
    PERFORMANCE,
    PERFORMANCE_COLUMNS,
    confusion_rows,
    performance_rows,
)
from aggregate.tables.predictions import read_predictions, write_predictions
from aggregate.tables.subgroups import SUBGROUPS, SUBGROUPS_COLUMNS, subgroup_rows
from aggregate.tables.tuning import read_tuning, write_tuning
from aggregate.tables.twins import Names, write_twin, write_with_twin
from pipeline.tables import TableStyle, read_columns, write_table

LATER = (COLUMNS, "checklist.csv")
"""Tables of fixed columns that are written when columns.csv is, or after."""


def write_tables(
    folder: Path,
    predictions: Predictions,
    cohort: CohortFacts,
    settings: StatisticsSection,
    style: TableStyle | None = None,
    *,
    tuning: Mapping[str, Sequence[TuneFold]] | None = None,
) -> None:
    """Write predictions.csv, cohort.csv and tune_predictions.csv, and from what stands there every other table.

    Without `tuning`, a tune_predictions.csv that stands there already is kept.

    Args:
        folder: the results folder.
        predictions: of every model, out of fold.
        cohort: the facts of the same patients, and perhaps of more.
        settings: [aggregate.statistics].
        style: separator, decimal sign and digits.
        tuning: by model, the predictions of the tune patients of every fold; thresholds are chosen on them.
    """
    style = style or TableStyle()
    write_predictions(folder, predictions, style=style)
    write_table(folder / COHORT, cohort_columns(cohort), cohort_rows(cohort), style=style)
    if tuning is not None:
        write_tuning(folder, tuning, predictions.classes, style=style)
    rebuild_tables(folder, settings, style)


def rebuild_tables(folder: Path, settings: StatisticsSection, style: TableStyle | None = None) -> None:
    """Write every table that derives from predictions.csv, cohort.csv and tune_predictions.csv anew.

    Raises:
        ResultsError: one of these tables is missing or does not fit.
    """
    style = style or TableStyle()
    predictions = read_predictions(folder, style=style)
    everybody = read_cohort_facts(folder, style=style)
    tuning = read_tuning(folder, predictions.classes, style=style)
    # The products are small: a second thread costs more than it computes, 40 times so on a busy machine.
    with threadpool_limits(limits=1):
        for file, columns, rows in _derived(predictions, everybody, tuning, settings):
            write_with_twin(folder / file, columns, rows, style=_with_digits(style, file))
    names = _names(predictions.classes, everybody)
    write_twin(
        folder / COHORT, cohort_columns(everybody), list(cohort_rows(everybody)), style=style, names=names
    )
    write_columns(folder, predictions.classes, everybody, style)


def _with_digits(style: TableStyle, file: str) -> TableStyle:
    """A threshold is a probability of a tune patient: with fewer digits it would call other patients."""
    return replace(style, digits=PROBABILITY_DIGITS) if file == THRESHOLDS else style


def write_columns(
    folder: Path, classes: Sequence[str], cohort: CohortFacts, style: TableStyle | None = None
) -> None:
    """Write columns.csv: every file and column of the folder, explained.

    The report quotes columns.csv and writes the checklist, so that these two are described before they exist.
    """
    style = replace(style or TableStyle(), stamp={})
    headers = {
        entry.file: list(entry.columns)
        if entry.file in LATER
        else read_columns(folder / entry.file, style=style)
        for entry in CATALOGUE
        if entry.file in LATER or (folder / entry.file).exists()
    }
    write_table(
        folder / COLUMNS, COLUMNS_COLUMNS, catalogue_rows(headers, _names(classes, cohort)), style=style
    )


def _names(classes: Sequence[str], cohort: CohortFacts) -> Names:
    return {
        "class": classes,
        "phase": cohort.phase_names,
        "covariate": covariate_columns(cohort.covariate_names),
    }


_Table = tuple[str, Sequence[str], Iterable[Mapping[str, Any]]]


def _derived(
    predictions: Predictions,
    everybody: CohortFacts,
    tuning: Mapping[str, Sequence[TuneFold]],
    settings: StatisticsSection,
) -> list[_Table]:
    weights = draw_resamples(predictions.labels, draws=settings.draws, seed=settings.seed)
    cohort = everybody.of(predictions.patient_ids)
    return [
        (PERFORMANCE, PERFORMANCE_COLUMNS, performance_rows(predictions, weights, settings)),
        (COMPARISONS, COMPARISONS_COLUMNS, comparison_rows(predictions, weights, settings)),
        (CONFUSION, CONFUSION_COLUMNS, confusion_rows(predictions)),
        (CALIBRATION, CALIBRATION_COLUMNS, calibration_rows(predictions, weights, settings)),
        (THRESHOLDS, THRESHOLDS_COLUMNS, threshold_rows(predictions, tuning, weights, settings)),
        (DECISION_CURVE, DECISION_CURVE_COLUMNS, decision_rows(predictions, weights, settings)),
        (SUBGROUPS, SUBGROUPS_COLUMNS, subgroup_rows(predictions, cohort, settings)),
        (CONFOUNDERS, CONFOUNDERS_COLUMNS, confounder_rows(predictions, cohort, settings)),
    ]
