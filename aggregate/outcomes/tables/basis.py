"""Tables computed from the predictions of an outcome, so that they can be rebuilt without training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.outcome import Outcome
from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.outcomes.section import Task
from aggregate.outcomes.statistics.grades import GRADE_METRICS, measure_grades
from aggregate.outcomes.statistics.measured import MeasuredModel, OutcomeMetric
from aggregate.outcomes.statistics.numbers import NUMBER_METRICS, measure_numbers
from aggregate.outcomes.statistics.survival import SURVIVAL_METRICS, Observed, measure_survival
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.table import Names, Table

METRICS_OF: Mapping[Task, Mapping[str, OutcomeMetric]] = {
    "survival": SURVIVAL_METRICS,
    "regression": NUMBER_METRICS,
    "ordinal": GRADE_METRICS,
}
ALL_METRICS = {name: metric for of_task in METRICS_OF.values() for name, metric in of_task.items()}


@dataclass(frozen=True, eq=False)
class OutcomeBasis:
    """The inputs of the tables.

    Attributes:
        predictions: of every model, out of fold.
        settings: [aggregate.statistics].
    """

    predictions: OutcomePredictions
    settings: StatisticsSection

    @property
    def outcome(self) -> Outcome:
        """The outcomes of the patients."""
        return self.predictions.outcome

    @property
    def metrics(self) -> Mapping[str, OutcomeMetric]:
        """What is measured."""
        return METRICS_OF[self.outcome.task]

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often each patient counts, float64 (n, 1 + draws); the groups of the outcome keep their sizes."""
        return draw_resamples(self.outcome.codes, draws=self.settings.draws, seed=self.settings.seed)

    @cached_property
    def measured(self) -> Mapping[str, MeasuredModel]:
        """Every model, and what the outcomes were drawn from, measured."""
        predictions = self.predictions
        if self.outcome.task == "survival":
            observed = Observed(self.outcome.values, self.weights)
            return {name: measure_survival(predictions, name, observed) for name in predictions.values}
        of_task = measure_numbers if self.outcome.task == "regression" else measure_grades
        return {name: of_task(predictions, name, self.weights) for name in predictions.values}


@dataclass(frozen=True, eq=False)
class OutcomeTable(Table):
    """A table with the function that makes its rows, and the tasks that have it."""

    rows: Callable[[OutcomeBasis], Iterable[Mapping[str, Any]]] = field(kw_only=True)
    tasks: tuple[Task, ...] = field(kw_only=True)
    names: Callable[[OutcomeBasis], Names] = field(kw_only=True, default=lambda _: {})
