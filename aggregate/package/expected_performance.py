"""What is to be expected of a package: the tables of the run's model, of its probabilities calibrated as the package does it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.package.temperature import cross_fitted_temperatures, with_temperature
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.tables.calibration import CALIBRATION
from aggregate.tables.decisions import THRESHOLDS
from aggregate.tables.derived import Basis, DerivedTable
from aggregate.tables.dictionary import write_columns
from aggregate.tables.performance import CONFUSION, PERFORMANCE
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import ALL, Row, numeric

TABLES_OF_PACKAGE: Sequence[DerivedTable] = (PERFORMANCE, CONFUSION, CALIBRATION, THRESHOLDS)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The out-of-fold predictions of one model, each calibrated by what the other folds say.

    Attributes:
        predictions: of the one model.
        tuning: of the tune patients of each fold.
    """

    predictions: Predictions
    tuning: Sequence[TuneFold]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.predictions.models[0]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the patients, float64 (repeats, n, classes)."""
        return self.predictions.probabilities[self.model]


def calibrated_out_of_fold(kind: str, predictions: Predictions, tuning: Sequence[TuneFold]) -> Calibrated:
    """Calibrate the predictions of every fold with the temperature that the other folds give.

    Args:
        kind: of the model.
        predictions: of this model alone.
        tuning: of its tune patients; those of a fold get the temperature of the fold.
    """
    (model,) = predictions.models
    raw = predictions.probabilities[model]
    temperatures = cross_fitted_temperatures(kind, raw, predictions.labels, predictions.fold)
    own = np.empty_like(raw)
    for place in np.ndindex(temperatures.shape):
        own[place] = with_temperature(raw[place], float(temperatures[place]))
    of_fold = {
        (repeat, int(fold)): float(temperatures[repeat, i])
        for repeat, folds in enumerate(predictions.fold)
        for i, fold in enumerate(folds)
    }
    tuned = [
        replace(
            one, probabilities=with_temperature(one.probabilities, of_fold.get((one.repeat, one.fold), 1.0))
        )
        for one in tuning
    ]
    return Calibrated(replace(predictions, probabilities={model: own}), tuned)


def write_expected(
    tables: ResultTables, calibrated: Calibrated, settings: StatisticsSection
) -> Mapping[str, float | None]:
    """Write the tables of a package, and return the threshold of each class, None where there is none.

    Args:
        tables: of the package.
        calibrated: its predictions.
        settings: [aggregate.statistics] of the run.
    """
    basis = Basis(calibrated.predictions, CohortFacts(()), {calibrated.model: calibrated.tuning}, settings)
    thresholds: dict[str, float | None] = {}
    for table in TABLES_OF_PACKAGE:
        rows = list(table.rows(basis))
        if table is THRESHOLDS:
            rows = [row for row in rows if row["fold"] == ALL]
            thresholds = {str(row["class"]): numeric(row["threshold"]) for row in rows}
        tables.write(table, rows)
    write_columns(tables)
    return thresholds


def expected_rows(tables: ResultTables) -> Iterator[Row]:
    """Yield the rows of performance.csv of a package."""
    yield from tables.read(PERFORMANCE)


def row_of(rows: Sequence[Mapping[str, Any]], name: str, metric: str) -> Mapping[str, Any] | None:
    """Return the row of a class, or of "macro", and a metric; None where there is none."""
    return next((row for row in rows if (row["class"], row["metric"]) == (name, metric)), None)
