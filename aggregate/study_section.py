"""[aggregate.study] of a configuration: a grid of models, and what is asked of it."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from aggregate.model_section import ModelSection
from pipeline.config import Section

SelectBy = Literal["log_loss", "auc"]
OWN_FACTORS = ("features", "aggregator", "measures", "phases", "covariates")
"""Factors that every study has, beside those that `bags` names and `scales` where it is given."""
SCALES = "scales"


class ScalesSection(Section):
    """Scales that a model sees, and how."""

    scales: tuple[str, ...] = ()
    """Names of scales; none for all."""
    join: bool = False
    """Whether the scales of a slice stand side by side as one instance."""


class LearningCurveSection(Section):
    """[aggregate.study.learning_curve]: performance against the number of training patients."""

    models: tuple[str, ...] = Field(min_length=1)
    """Names of configurations of the study, chosen before the results."""
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the training patients of each fold; each share holds the smaller ones."""
    extrapolate_to: tuple[int, ...] = (200, 400)
    """Numbers of training patients for which the power law is read, as a planning aid."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> Self:
        if any(not 0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares: expected numbers above 0 and up to 1, found {self.shares}")
        return self


class RobustnessSection(Section):
    """[aggregate.study.robustness]: performance as phases or slices are taken away from the test patients."""

    models: tuple[str, ...] = Field(min_length=1)
    """Names of configurations of the study, chosen before the results."""
    slices: tuple[float, ...] = (0.5, 0.25, 0.1)
    """Shares of the slices of each phase that are kept, at least one slice of each."""
    draws: int = Field(5, ge=1)
    """Random choices of the slices, averaged."""


class BesideSection(ModelSection):
    """[aggregate.study.beside.NAME]: a whole model as a row beside the grid, such as one of scans and biopsies."""

    levels: Mapping[str, str] = {}
    """Factor -> what the tables show as its level; `beside` for a factor that is not named."""


class StudySection(Section):
    """[aggregate.study]: a grid of models over bag sets, features, aggregators, measures, phases, scales and covariates.

    Every combination of levels is a configuration, named by the levels of the factors that vary.
    """

    bags: Mapping[str, Mapping[str, str]] = {}
    """Bag set -> factor -> level, such as `tight = { encoder = "embedded", reference = "liver" }`; by default the bag set
    itself is the level of a factor `bags`."""
    features: Mapping[str, tuple[str, ...]] = {"all": ()}
    """Level -> blocks of the features; none for all."""
    aggregators: Mapping[str, ModelSection] = Field(min_length=1)
    """Level -> `kind` and parameters of a model; with `grid`, parameters to choose on the tuning patients of each fold."""
    beside: Mapping[str, BesideSection] = {}
    """Models that are no combination of the grid, by their name in the tables, with all that they read: in the same leaderboard
    and comparisons, on the same splits; the effects of the factors are those of the grid alone, and a budget leaves them out."""
    measures: tuple[bool, ...] = Field((False,), min_length=1)
    """Whether the measures of the slices are added to the features."""
    phases: Mapping[str, tuple[str, ...]] = {"all": ()}
    """Level -> the only phases that are seen; none for all."""
    scales: Mapping[str, tuple[str, ...] | ScalesSection] = {}
    """Level -> list of the only scales that are seen, empty for all, such as `tight = ["tight"]`; or a table of these with
    `join`, such as `joined = { scales = ["tight", "context"], join = true }`. Left out, it is no factor: all scales are seen."""
    covariates: Mapping[str, tuple[str, ...]] = {"none": ()}
    """Level -> columns of the cohort table that the models read."""
    without: tuple[Mapping[str, str | tuple[str, ...]], ...] = ()
    """Combinations that are left out: factor -> level or levels; a combination that has all of them is not in the study."""
    select_by: SelectBy = "log_loss"
    """What decides on the tuning patients of a fold which configuration is the best there; `auc` needs some of every class."""
    budget_minutes: float | None = Field(None, gt=0)
    """Minutes that the study may take, as with `--budget`: successive halving within the training patients of each fold
    instead of every configuration on every fold, and so without the primary comparison, `learning_curve`, `robustness` and
    `project`, as the plan tells."""
    compare_best: int = Field(12, ge=2, le=40)
    """All pairs among this many best configurations are compared."""
    plainest: str = ""
    """Configuration that every other one is compared with, the simplest one, chosen before the results; by default the first
    of the grid, so write the plainest level of each factor first."""
    project: tuple[str, ...] = ()
    """Classes that no model is trained on, and that every outer model scores, such as ["cHCC-CCA"]."""
    learning_curve: LearningCurveSection | None = None
    """Which configurations have a learning curve."""
    robustness: RobustnessSection | None = None
    """Which configurations are tested with fewer phases and slices."""

    @property
    def scale_levels(self) -> Mapping[str, ScalesSection]:
        """Level -> scales and whether they are joined; empty where scales are no factor."""
        return {
            level: given if isinstance(given, ScalesSection) else ScalesSection(scales=given)
            for level, given in self.scales.items()
        }

    @model_validator(mode="after")
    def _bag_sets_have_the_same_factors(self) -> Self:
        described = {name: set(levels) for name, levels in self.bags.items()}
        for name, factors in described.items():
            first = next(iter(described.values()))
            if factors != first:
                raise ValueError(
                    f"bags.{name}: expected the factors of the other bag sets ({', '.join(sorted(first))}), found "
                    f"{', '.join(sorted(factors)) or 'none'}"
                )
            taken = factors & {*OWN_FACTORS, *([SCALES] if self.scales else [])}
            if taken:
                raise ValueError(f"bags.{name}: {min(taken)!r} is a factor of its own; choose another name")
        return self
