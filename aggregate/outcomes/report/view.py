"""What the sections on an outcome share: which model is shown, how models are ranked and named."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from aggregate.outcomes.outcome import Outcome
from aggregate.outcomes.predictions import DRAWN, OutcomePredictions
from aggregate.outcomes.section import OutcomeSection
from aggregate.outcomes.statistics.measured import OutcomeMetric
from aggregate.outcomes.tables.basis import METRICS_OF
from aggregate.outcomes.tables.comparisons import OUTCOME_COMPARISONS
from aggregate.outcomes.tables.performance import OUTCOME_PERFORMANCE
from aggregate.outcomes.tables.predictions import read_outcome_predictions
from aggregate.report.folder import ResultsFolder
from aggregate.tables.rows import Row, numeric

METRIC_WORDS: Mapping[str, str] = {
    "uno_c": "C-index (Uno)",
    "harrell_c": "C-index (Harrell)",
    "auc_at": "AUC",
    "brier_at": "Brier",
    "integrated_brier": "integrated Brier",
    "r2": "R2",
    "mae": "mean absolute error",
    "rmse": "RMSE",
    "spearman": "Spearman",
    "calibration_slope": "slope",
    "bias": "bias",
    "limit_low": "lower limit of agreement",
    "limit_high": "upper limit of agreement",
    "quadratic_kappa": "quadratic kappa",
    "mae_grades": "mean distance in grades",
    "threshold_auc": "AUC above",
    "ranked_probability": "ranked probability score",
}
"""Metric -> how the report prints it."""
CHANCE: Mapping[str, float] = {"uno_c": 0.5, "r2": 0.0, "quadratic_kappa": 0.0}
"""Metric that models are ranked by -> its value without any knowledge."""
_CONSTANTS = ("kaplan_meier", "mean_number", "grade_shares")
_BASELINES = (*_CONSTANTS, "tumour_size", "covariates")


@dataclass(frozen=True)
class OutcomeView:
    """A results folder of an outcome."""

    folder: ResultsFolder

    @property
    def section(self) -> OutcomeSection:
        """[aggregate.outcome] of the run."""
        return OutcomeSection.model_validate(self.folder.settings("aggregate", "outcome"))

    @property
    def metrics(self) -> Mapping[str, OutcomeMetric]:
        """What is measured."""
        return METRICS_OF[self.folder.task]

    @property
    def main(self) -> str:
        """The metric that models are ranked by."""
        return next(iter(self.metrics))

    @cached_property
    def predictions(self) -> OutcomePredictions:
        """The out-of-fold predictions."""
        return read_outcome_predictions(self.folder.tables, self.folder.task, self.section)

    @property
    def outcome(self) -> Outcome:
        """The outcomes."""
        return self.predictions.outcome

    @cached_property
    def rows(self) -> Mapping[tuple[str, str, str], Row]:
        """(model, metric, at) -> row of the performance."""
        rows = self.folder.rows(OUTCOME_PERFORMANCE)
        return {(row["model"], row["metric"], row["at"]): row for row in rows}

    @cached_property
    def keys(self) -> list[tuple[str, str]]:
        """(metric, at) in the order of the table."""
        return list(dict.fromkeys((metric, at) for _, metric, at in self.rows))

    @cached_property
    def main_rows(self) -> Mapping[str, Row]:
        """Model -> row of the main metric; those of the configuration first, then the baselines, each the best first."""
        found = {model: row for (model, metric, _), row in self.rows.items() if metric == self.main}
        ranked = sorted(found, key=lambda model: -(numeric(found[model]["estimate"]) or 0.0))
        groups = (
            [m for m in ranked if self.kind_of(m) == "model"],
            [m for m in ranked if self.kind_of(m) == "baseline"],
        )
        return {model: found[model] for model in (*groups[0], *groups[1], *[m for m in ranked if m == DRAWN])}

    def kind_of(self, model: str) -> str:
        """Return `model`, `baseline` or `drawn`."""
        if model == DRAWN:
            return "drawn"
        named = self.folder.settings("aggregate", "model")
        return "model" if model in named else "baseline" if model in _BASELINES else "model"

    @cached_property
    def primary(self) -> Row | None:
        """The comparison that was declared before the results."""
        return next((row for row in self.folder.rows(OUTCOME_COMPARISONS) if row["primary"]), None)

    @cached_property
    def shown(self) -> str:
        """The model that the figures show: the declared one, or the best of the configuration."""
        return str(self.primary["model_a"]) if self.primary else next(iter(self.main_rows))

    @property
    def shown_rule(self) -> str:
        """How it was chosen, in words."""
        if self.primary:
            return "of the primary comparison, declared before the results"
        return "the best on these patients, so that its numbers are optimistic"

    @property
    def unit(self) -> str:
        """What the horizontal axis of time, or a number, is called."""
        return self.section.time or self.section.column

    @property
    def models(self) -> list[str]:
        """Models and baselines as ranked, without the drawn truth."""
        return [model for model in self.main_rows if model != DRAWN]

    def of_comparisons(self) -> list[Row]:
        """Return the comparisons by the main metric, the primary one first, then those of configured models."""
        rows = self.folder.rows(OUTCOME_COMPARISONS, metric=self.main)
        configured = set(self.folder.settings("aggregate", "model"))
        return sorted(rows, key=lambda r: (not r["primary"], -len({r["model_a"], r["model_b"]} & configured)))
