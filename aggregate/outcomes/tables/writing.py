"""Every table of an outcome, written in one call."""

from threadpoolctl import threadpool_limits

from aggregate.config import AggregateSection
from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.outcomes.tables.basis import OutcomeBasis, OutcomeTable
from aggregate.outcomes.tables.predictions import read_outcome_predictions, write_outcome_predictions
from aggregate.tables.dictionary import write_columns
from aggregate.tables.registry import all_tables
from aggregate.tables.results import ResultTables


def write_outcome_tables(
    tables: ResultTables, predictions: OutcomePredictions, section: AggregateSection
) -> None:
    """Write the predictions, and from what stands there every other table."""
    write_outcome_predictions(tables, predictions)
    rebuild_outcome_tables(tables, section)


def rebuild_outcome_tables(tables: ResultTables, section: AggregateSection) -> None:
    """Write every table that derives from the predictions anew.

    Raises:
        ResultsError: the table of the predictions is missing or does not fit.
    """
    predictions = read_outcome_predictions(tables, section.task, section.outcome)
    basis = OutcomeBasis(predictions, section.statistics)
    # The products are small: a second thread costs more than it computes.
    with threadpool_limits(limits=1):
        for table in all_tables():
            if isinstance(table, OutcomeTable) and section.task in table.tasks:
                tables.write(table, table.rows(basis), table.names(basis))
    write_columns(tables)
