"""The inputs of the tables of a study, and the scores that several of them need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.statistics.intervals import Estimate
from aggregate.statistics.measures import MACRO, SMALLEST_PROBABILITY, Measurement, macro_auc
from aggregate.statistics.resamples import draw_resamples
from aggregate.statistics.training import trained_sample
from aggregate.study.configurations import Described
from aggregate.study_section import SelectBy, StudySection
from aggregate.tables.performance import estimate_of, group_sizes
from aggregate.tables.table import Names, Table

Place = tuple[int, int]
"""(repeat, fold)."""
Measure = Callable[[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]], Measurement]
"""Of labels, probabilities (repeats, n, classes) and weights (n, draws)."""


@dataclass(frozen=True, eq=False)
class StudyBasis:
    """A finished study, from which its tables follow without training.

    Attributes:
        predictions: of every configuration and baseline, out of fold.
        tuning: by model, the predictions of the tune patients of every fold.
        configurations: the grid, then the models beside it, without the baselines.
        statistics: [aggregate.statistics].
        study: [aggregate.study].
    """

    predictions: Predictions
    tuning: Mapping[str, Sequence[TuneFold]]
    configurations: tuple[Described, ...]
    statistics: StatisticsSection
    study: StudySection

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often each patient counts, float64 (n, 1 + draws), as from `draw_resamples`."""
        settings = self.statistics
        return draw_resamples(self.predictions.labels, draws=settings.draws, seed=settings.seed)

    @property
    def names(self) -> list[str]:
        """Names of the configurations."""
        return [one.name for one in self.configurations]

    @property
    def grid(self) -> tuple[Described, ...]:
        """The configurations of the grid, which come first, without the models beside it."""
        return tuple(one for one in self.configurations if one.name not in self.study.beside)

    @property
    def factors(self) -> list[str]:
        """Factors of the study."""
        return list(self.configurations[0].levels)

    @property
    def patterns(self) -> Names:
        """What `factor` stands for in the names of columns."""
        return {"factor": self.factors}

    @cached_property
    def measured(self) -> Mapping[str, Measurement]:
        """Macro AUC of every model."""
        labels = self.predictions.labels
        return {m: macro_auc(labels, p, self.weights) for m, p in self.predictions.probabilities.items()}

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """Macro AUC of every model with its interval."""
        return {m: self.estimate(p, self.measured[m]) for m, p in self.predictions.probabilities.items()}

    def estimate(self, probabilities: NDArray[np.float64], measured: Measurement | None = None) -> Estimate:
        """Return the macro AUC of out-of-fold probabilities (repeats, n, classes) with its interval."""
        labels, fold = self.predictions.labels, self.predictions.fold
        found = measured or macro_auc(labels, probabilities, self.weights)
        sample = trained_sample(labels, probabilities, fold, self.weights)
        sizes = group_sizes(labels, self.predictions.classes, MACRO)
        return estimate_of(found, "auc", sizes, self.statistics.confidence, sample)

    @cached_property
    def places(self) -> list[Place]:
        """Every fold of every repeat."""
        return [(r, int(f)) for r, folds in enumerate(self.predictions.fold) for f in np.unique(folds)]

    @cached_property
    def per_fold(self) -> Mapping[str, NDArray[np.float64]]:
        """Macro AUC of every model on the test patients of each fold (folds,), NaN where a class is missing."""
        return {m: self.of_folds(p) for m, p in self.predictions.probabilities.items()}

    def of_folds(
        self, probabilities: NDArray[np.float64], measure: Measure = macro_auc
    ) -> NDArray[np.float64]:
        """Return the macro AUC, or another measure, on the test patients of each fold (folds,)."""
        labels, found = self.predictions.labels, []
        for repeat, fold in self.places:
            tested = self.predictions.fold[repeat] == fold
            ones = np.ones((int(tested.sum()), 1))
            p = probabilities[repeat : repeat + 1, tested]
            found.append(measure(labels[tested], p, ones).per_repeat[0])
        return np.array(found)

    @cached_property
    def tune_scores(self) -> NDArray[np.float64]:
        """Score of each configuration on the tune patients of each fold (configurations, folds); higher is better.

        NaN where none is known.
        """
        by = self.study.select_by
        of_folds = [
            {(t.repeat, t.fold): tune_score(t, by) for t in self.tuning.get(name, ())} for name in self.names
        ]
        return np.array([[scores.get(place, np.nan) for place in self.places] for scores in of_folds])


@dataclass(frozen=True, eq=False)
class StudyTable(Table):
    """A table of a study with the function that makes its rows."""

    rows: Callable[[StudyBasis], Iterable[Mapping[str, Any]]] = field(kw_only=True)


def tune_score(tune: TuneFold, by: SelectBy) -> float:
    """Return how good a model is on the tune patients of a fold: macro AUC, or the negative of the log loss.

    NaN for the AUC where a class is missing among them.
    """
    if by == "auc":
        ones = np.ones((len(tune.labels), 1))
        return float(macro_auc(tune.labels, tune.probabilities[None], ones).per_repeat[0])
    of_truth = tune.probabilities[np.arange(len(tune.labels)), tune.labels]
    return float(np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)).mean())
