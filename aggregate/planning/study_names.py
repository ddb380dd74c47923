"""The names in [aggregate.study]: classes that are projected, and configurations that are asked further questions."""

from collections.abc import Iterator, Mapping, Sequence

from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateSection
from aggregate.models.base import PatientEstimator
from aggregate.study_section import StudySection
from pipeline.config import CohortSection
from pipeline.errors import ConfigError, Mistakes
from pipeline.names import hint_of_nearest, label_vocabulary

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


def check_asked_models(section: AggregateSection, where: str, mistakes: Mistakes) -> None:
    """Gather the names of `learning_curve` and `robustness` that are no configuration; the nearest one is named."""
    for table, names in _asked(section.study).items():
        for name in names:
            if name not in section.model:
                mistakes.add(
                    ConfigError(
                        f"{where}: aggregate.study.{table}.models names {name!r}, which is no configuration of this "
                        f"study; {hint_of_nearest(name, section.model)}"
                    )
                )


def check_can_be_asked_again(name: str, model: PatientEstimator, section: AggregateSection) -> None:
    """Refuse a model that is gone after its fit, where the study asks the fitted model again.

    Raises:
        ConfigError: the model cannot be saved.
    """
    study = section.study
    if study is None or model.is_savable:
        return
    robust = study.robustness.models if study.robustness else ()
    needed_by = "project" if study.project else "robustness" if name in robust else ""
    if needed_by:
        raise ConfigError(
            f"aggregate.study.{needed_by} asks the fitted models again, and a model of kind {model.kind!r} cannot be "
            "saved; for trees that can be saved use 'xgboost'"
        )


def remarks_on_study(section: AggregateSection, study: StudyCohort, n_folds: int) -> Iterator[str]:
    """Tell who is kept aside, and how many fits the learning curves add."""
    if study.projected:
        aside = study.projected.patients
        yield (
            f"{len(aside)} patients of {', '.join(aside.classes)} train and test no model; every outer model scores them "
            "(aggregate.study.project)"
        )
    curve = section.study.learning_curve if section.study else None
    if curve:
        smaller = sum(share < 1 for share in set(curve.shares))
        n_fits = len(curve.models) * smaller * n_folds
        yield f"{n_fits} fits more for the learning curves, on {smaller} shares of the training patients"


def _asked(study: StudySection | None) -> Mapping[str, Sequence[str]]:
    tables = {
        "learning_curve": study.learning_curve if study else None,
        "robustness": study.robustness if study else None,
    }
    return {name: table.models for name, table in tables.items() if table}
