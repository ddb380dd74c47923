"""The names in [aggregate.study]: classes that are projected, and configurations that are asked further questions."""

from collections.abc import Iterator, Mapping, Sequence

from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateSection
from aggregate.models.base import PatientEstimator
from aggregate.study_section import StudySection
from pipeline.config import CohortSection
from pipeline.errors import ConfigError, Mistakes
from pipeline.names import label_vocabulary, nearest

_FEWEST_CLASSES = 2


def with_projected_resolved(
    study: StudySection, cohort: CohortSection, where: str, mistakes: Mistakes
) -> StudySection:
    """Return the study with every spelling in `project` replaced by the class that it stands for.

    A class that is unknown (the nearest one is named) or ambiguous, or too few classes that remain, are gathered; nothing is
    projected then, so that no other mistake follows.
    """
    project: list[str] = []
    resolved: tuple[str, ...] = ()
    of_names = Mistakes()
    with of_names.gathered():
        labels, place = label_vocabulary(cohort), f"{where}: aggregate.study.project"
        for text in study.project:
            with of_names.gathered():
                project.append(labels.resolve(text, where=place))
        _check_remaining(cohort.classes, project, place)
    with mistakes.gathered():
        of_names.raise_all()
        resolved = tuple(dict.fromkeys(project))
    return study.model_copy(update={"project": resolved})


def _check_remaining(classes: Sequence[str], project: Sequence[str], where: str) -> None:
    remaining = [name for name in classes if name not in project]
    if len(remaining) < _FEWEST_CLASSES:
        raise ConfigError(
            f"{where}: expected at least {_FEWEST_CLASSES} classes to train on, found {', '.join(remaining) or 'none'}"
        )


def check_asked_configurations(
    section: AggregateSection, grid: Sequence[str], where: str, mistakes: Mistakes
) -> None:
    """Gather the names in `learning_curve`, `robustness` and `primary` that are no configuration, such as a baseline.

    Args:
        section: of a study.
        grid: names of its configurations, the nearest of which is named.
        where: what the messages begin with, such as the file.
        mistakes: gathers what is wrong.
    """
    for key, names in _asked(section).items():
        for name in names:
            if name not in grid:
                mistakes.add(
                    ConfigError(
                        f"{where}: aggregate.{key} names {name!r}, which is no configuration of this study (a baseline is "
                        f"none); nearest valid name: {nearest(name, grid, cutoff=0)!r}"
                    )
                )


def check_can_be_asked_again(name: str, model: PatientEstimator, section: AggregateSection) -> None:
    """Refuse a model that is gone after its fit, where the study asks the fitted model again; within a budget it does not.

    Raises:
        ConfigError: the model cannot be saved.
    """
    study = section.study
    if study is None or study.budget_minutes is not None or model.is_savable:
        return
    robust = study.robustness.models if study.robustness else ()
    needed_by = "project" if study.project else "robustness" if name in robust else ""
    if needed_by:
        raise ConfigError(
            f"aggregate.study.{needed_by} asks the fitted models again, and a model of kind {model.kind!r} cannot be "
            "saved; for trees that can be saved use 'xgboost'"
        )


def remarks_on_study(section: AggregateSection, study: StudyCohort, n_folds: int) -> Iterator[str]:
    """Tell who is kept aside, how many fits the learning curves add, and what is not made within a budget."""
    is_budget = section.study is not None and section.study.budget_minutes is not None
    if study.projected:
        aside = study.projected.patients
        scored = "no model scores them within a budget" if is_budget else "every outer model scores them"
        yield (
            f"{len(aside)} patients of {', '.join(aside.classes)} train and test no model; {scored} "
            "(aggregate.study.project)"
        )
    if is_budget:
        yield from _left_out_within_budget(section, has_projected=study.projected is not None)
        return
    curve = section.study.learning_curve if section.study else None
    if curve:
        smaller = sum(share < 1 for share in set(curve.shares))
        n_fits = len(curve.models) * smaller * n_folds
        yield f"{n_fits} fits more for the learning curves, on {smaller} shares of the training patients"


def _left_out_within_budget(section: AggregateSection, *, has_projected: bool) -> Iterator[str]:
    """Tell which tables are asked for and not made, because no single configuration is trained on every fold."""
    tables = {
        "statistics.primary": "study_comparisons.csv",
        "study.learning_curve.models": "learning_curve.csv",
        "study.robustness.models": "robustness.csv",
    }
    asked = _asked(section)
    lacking = [
        f"{file} (aggregate.{key.removesuffix('.models')})" for key, file in tables.items() if key in asked
    ]
    beside = section.study.beside if section.study else {}
    if beside:
        lacking.append(f"the models beside the grid, such as {next(iter(beside))} (aggregate.study.beside)")
    if has_projected:
        lacking.append("projection.csv (aggregate.study.project)")
    if lacking:
        yield (
            f"Not made within a budget, where no configuration is trained on every fold: {', '.join(lacking)}; leave "
            "budget_minutes or --budget out for these"
        )


def _asked(section: AggregateSection) -> Mapping[str, Sequence[str]]:
    """Return, by key of the configuration, the names of those configurations that are asked further questions."""
    study, primary = section.study, section.statistics.primary
    curve, robust = (study.learning_curve, study.robustness) if study else (None, None)
    asked = {
        "study.learning_curve.models": curve and curve.models,
        "study.robustness.models": robust and robust.models,
        "statistics.primary": primary and (primary.model_a, primary.model_b),
    }
    return {key: names for key, names in asked.items() if names}
