"""Every table that derives from the predictions, written in one call."""

from pathlib import Path

from threadpoolctl import threadpool_limits

from aggregate.cohort_facts import CohortFacts
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.performance import (
    CONFUSION,
    CONFUSION_COLUMNS,
    PERFORMANCE,
    PERFORMANCE_COLUMNS,
    confusion_rows,
    performance_rows,
)
from aggregate.tables.predictions import read_predictions, write_predictions
from pipeline.tables import TableStyle, write_table


def write_tables(
    folder: Path,
    predictions: Predictions,
    cohort: CohortFacts,
    settings: StatisticsSection,
    style: TableStyle | None = None,
) -> None:
    """Write predictions.csv, and from what stands in it every other table of contract 4 that it decides.

    Args:
        folder: the results folder.
        predictions: of every model, out of fold.
        cohort: the facts of the same patients in the same order.
        settings: [aggregate.statistics].
        style: separator, decimal sign and digits.
    """
    write_predictions(folder, predictions, style=style)
    predictions = read_predictions(folder, style=style)
    # The products are small: a second BLAS thread costs more than it computes, 40 times so on a busy machine.
    with threadpool_limits(limits=1, user_api="blas"):
        weights = draw_resamples(predictions.labels, draws=settings.draws, seed=settings.seed)
        performance = list(performance_rows(predictions, weights, settings))
    write_table(folder / PERFORMANCE, PERFORMANCE_COLUMNS, performance, style=style)
    write_table(folder / CONFUSION, CONFUSION_COLUMNS, confusion_rows(predictions), style=style)
