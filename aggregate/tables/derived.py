"""Tables computed from the predictions and the facts about the cohort, so that they can be rebuilt without training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.table import Table


@dataclass(frozen=True, eq=False)
class Basis:
    """The inputs of the derived tables.

    Attributes:
        predictions: of every model, out of fold.
        everybody: the facts of these patients, and perhaps of more.
        tuning: by model, the predictions of the tune patients of every fold.
        settings: [aggregate.statistics].
    """

    predictions: Predictions
    everybody: CohortFacts
    tuning: Mapping[str, Sequence[TuneFold]]
    settings: StatisticsSection

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often each patient counts, float64 (n, 1 + draws), as from `draw_resamples`."""
        return draw_resamples(self.predictions.labels, draws=self.settings.draws, seed=self.settings.seed)

    @cached_property
    def cohort(self) -> CohortFacts:
        """The facts of the patients of the predictions, in their order."""
        return self.everybody.of(self.predictions.patient_ids)


@dataclass(frozen=True, eq=False)
class DerivedTable(Table):
    """A table with the function that makes its rows."""

    rows: Callable[[Basis], Iterable[Mapping[str, Any]]] = field(kw_only=True)
