"""Every table that derives from the predictions, written in one call."""

from collections.abc import Mapping, Sequence

from threadpoolctl import threadpool_limits

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.tables.cohort import COHORT, cohort_names, cohort_rows, read_cohort_facts
from aggregate.tables.derived import Basis, DerivedTable
from aggregate.tables.dictionary import write_columns
from aggregate.tables.predictions import read_predictions, write_predictions
from aggregate.tables.registry import all_tables
from aggregate.tables.results import ResultTables
from aggregate.tables.tuning import read_tuning, write_tuning


def write_tables(
    tables: ResultTables,
    predictions: Predictions,
    cohort: CohortFacts,
    settings: StatisticsSection,
    *,
    tuning: Mapping[str, Sequence[TuneFold]] | None = None,
) -> None:
    """Write predictions.csv, cohort.csv and tune_predictions.csv, and from what stands there every other table.

    Without `tuning`, a tune_predictions.csv that stands there already is kept.

    Args:
        tables: where to, and how they are written.
        predictions: of every model, out of fold.
        cohort: the facts of the same patients, and perhaps of more.
        settings: [aggregate.statistics].
        tuning: by model, the predictions of the tune patients of every fold; thresholds are chosen on them.
    """
    write_predictions(tables, predictions)
    tables.write(COHORT, cohort_rows(cohort), cohort_names(cohort))
    if tuning is not None:
        write_tuning(tables, tuning, predictions.classes)
    rebuild_tables(tables, settings)


def rebuild_tables(tables: ResultTables, settings: StatisticsSection) -> None:
    """Write every table that derives from predictions.csv, cohort.csv and tune_predictions.csv anew.

    Raises:
        ResultsError: one of these tables is missing or does not fit.
    """
    predictions, everybody = read_predictions(tables), read_cohort_facts(tables)
    basis = Basis(predictions, everybody, read_tuning(tables, predictions.classes), settings)
    # The products are small: a second thread costs more than it computes, 40 times so on a busy machine.
    with threadpool_limits(limits=1):
        for table in all_tables():
            if isinstance(table, DerivedTable):
                tables.write(table, table.rows(basis))
    write_columns(tables)
