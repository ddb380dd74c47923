"""[aggregate.statistics]: what the tables estimate and how."""

from typing import Literal

from pydantic import Field

from aggregate.statistics.decisions import ThresholdRule
from pipeline.config import Section


class ComparisonSection(Section):
    """The one comparison that was declared before the results were seen."""

    model_a: str
    """Name of a model of the configuration."""
    model_b: str
    """The model it is compared with; the difference is a minus b."""
    metric: Literal["auc", "balanced_accuracy"] = "auc"
    """Macro AUC or balanced accuracy."""


class StatisticsSection(Section):
    """Resampling, comparisons, thresholds and subgroups."""

    draws: int = Field(2000, ge=100)
    """Bootstrap resamples of the patients."""
    seed: int = 0
    """Seed of the resamples; equal seeds give equal tables."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of every confidence interval."""
    primary: ComparisonSection | None = None
    """The declared comparison; its p-value is not adjusted, that of every other one is."""
    compare: Literal["all", "primary_models"] = "all"
    """Compare all pairs of models, or only the pairs with a model of the primary comparison."""
    threshold_rule: ThresholdRule = "youden"
    """Threshold per class: the largest sensitivity + specificity, or the one that reaches `threshold_target`."""
    threshold_target: float = Field(0.9, gt=0, lt=1)
    """Sensitivity or specificity to be reached on the patients the threshold is chosen on."""
    calibration_bins: int = Field(5, ge=2, le=20)
    """Bins of equal patient counts; few, since 120 patients fill no more."""
    decision_classes: tuple[str, ...] = ()
    """Classes whose treatment decision is drawn as net benefit; empty: every class."""
    subgroup_minimum: int = Field(10, ge=2)
    """A subgroup with fewer patients shows its size and no estimate."""
    subgroup_class_minimum: int = Field(5, ge=2)
    """Nor does a figure that rests on fewer patients of a class than this."""
    subgroup_covariates: tuple[str, ...] = ()
    """Columns of the cohort table by which subgroups are formed, beside centre, size, thickness and phases."""
