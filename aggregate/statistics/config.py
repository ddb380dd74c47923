"""[aggregate.statistics]: what the tables estimate and how."""

from typing import Literal

from pydantic import Field

from aggregate.statistics.decisions import ThresholdRule
from pipeline.config import Section


class ComparisonSection(Section):
    """[aggregate.statistics.primary]: the one comparison that was declared before the results were seen."""

    model_a: str
    """Name of a model or baseline; in a study that of a configuration, since it compares no baselines."""
    model_b: str
    """Name of the model that it is compared with; differences are model_a minus model_b."""
    metric: Literal["auc", "balanced_accuracy"] = "auc"
    """Metric of the comparison: macro AUC or balanced accuracy."""


class StatisticsSection(Section):
    """[aggregate.statistics]: resampling, comparisons, thresholds and subgroups."""

    draws: int = Field(2000, ge=100)
    """Bootstrap resamples of the patients."""
    seed: int = 0
    """Seed of the resamples; equal seeds give equal tables."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence level of every interval."""
    primary: ComparisonSection | None = None
    """The declared comparison. Its p-value is not adjusted for multiple comparisons; all others are."""
    compare: Literal["all", "primary_models"] = "all"
    """Compare all pairs of models, or only the pairs with a model of the primary comparison."""
    threshold_rule: ThresholdRule = "youden"
    """Threshold per class: largest sensitivity + specificity (`youden`), or sensitivity or specificity of at least
    `threshold_target`."""
    threshold_target: float = Field(0.9, gt=0, lt=1)
    """Sensitivity or specificity that the threshold must reach on the patients it is chosen on."""
    calibration_bins: int = Field(5, ge=2, le=20)
    """Bins of the calibration curve, with equal numbers of patients; 120 patients fill only a few."""
    decision_classes: tuple[str, ...] = ()
    """Classes for which the decision curve (net benefit) is computed; empty: every class."""
    subgroup_minimum: int = Field(10, ge=2)
    """A subgroup with fewer patients is listed with its size, without an estimate."""
    subgroup_class_minimum: int = Field(5, ge=2)
    """In a subgroup, a metric with fewer patients of a class than this has no estimate."""
    subgroup_covariates: tuple[str, ...] = ()
    """Columns of the cohort table that form subgroups, in addition to centre, tumour size, slice thickness and phases."""
