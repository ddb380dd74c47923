"""The plan of a run, made before any work: models built, names resolved, folds drawn, checks for leakage.

Errors of independent parts are collected and reported together. Nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.cohort.study_cohort import StudyCohort, load_study, without_phases_seen
from aggregate.config import AggregateConfig
from aggregate.models.registry import build_model
from aggregate.outcomes.planning import (
    check_events,
    check_outcome,
    check_outcome_is_not_read,
    check_task_of,
    for_folds,
    remarks_on_outcome,
)
from aggregate.planning.baselines import with_baselines
from aggregate.planning.configured_names import (
    check_explained_model,
    check_study,
    columns_of_models,
    how_the_table_was_read,
    with_names_resolved,
)
from aggregate.planning.fit_tasks import FitTask, ModelSpec, fit_tasks
from aggregate.planning.leaks import check_no_label_among_covariates, check_no_shared_images
from aggregate.planning.splits import leave_one_centre_out, never_tested, read_splits, repeated_folds
from aggregate.planning.study_grid import grid_of, with_models_of_study
from aggregate.planning.study_names import check_can_be_asked_again, remarks_on_study
from aggregate.planning.study_tuning import check_tune_patients
from aggregate.run_folder.fit_seconds import patients_of_record, recorded_seconds
from aggregate.store.fit_cache import FitCache
from pipeline.cohort import Exclusion
from pipeline.config import Draft, draft_config, with_table
from pipeline.errors import ConfigError, FoldError, Mistakes


@dataclass(frozen=True, eq=False)
class Plan:
    """A run whose configuration, cohort table and bags passed all checks.

    Attributes:
        config: with every name resolved.
        study: the patients, with everybody left out.
        folds: drawn, or those of the user's file.
        specs: the models of the configuration, then the baselines.
        tasks: what is to be fitted, by model.
        cached: keys of the fits that are in the cache.
        seconds: of a fit, mean of an earlier run, for the models of which it is known.
        seconds_of_patients: how many patients that run had; None where there was none.
        remarks: how the cohort table was read, one line each.
    """

    config: AggregateConfig
    study: StudyCohort
    folds: tuple[Fold, ...]
    specs: tuple[ModelSpec, ...]
    tasks: Mapping[str, Sequence[FitTask]]
    cached: frozenset[str]
    seconds: Mapping[str, float]
    seconds_of_patients: int | None
    remarks: tuple[str, ...]
    timed_now: frozenset[str] = frozenset()
    """Models whose seconds were measured for this plan."""

    def n_open(self, name: str) -> int:
        """Return how many fits of a model are not in the cache."""
        return sum(task.key not in self.cached for task in self.tasks[name])

    def untimed(self) -> list[FitTask]:
        """Return what is to be trained by models of which no earlier run recorded the seconds."""
        names = (name for name in self.tasks if name not in self.seconds)
        return [task for name in names for task in self.tasks[name] if task.key not in self.cached]

    def with_seconds(self, measured: Mapping[str, float]) -> Self:
        """Return the plan with the seconds of a fit of more models."""
        return replace(self, seconds={**self.seconds, **measured}, timed_now=frozenset(measured))


def load_aggregate_config(path: Path, overrides: Sequence[str]) -> AggregateConfig:
    """Read a configuration; overrides without a top-level table mean [aggregate], as in model.attention.hidden=64.

    Raises:
        ConfigError: the file or an override does not fit; several mistakes are told at once.
    """
    mistakes = Mistakes()
    draft = _draft(path, overrides, mistakes)
    mistakes.raise_all()
    return cast("AggregateConfig", draft.config)  # it lacks only where there was a mistake


def read_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a configuration and make its plan; the mistakes of both are told at once.

    Raises:
        PhasemilError: as `load_aggregate_config` and `make_plan` raise.
    """
    mistakes = Mistakes()
    draft = _draft(path, overrides, mistakes)
    plan = None
    if draft.config is not None and _is_cohort_known(draft):
        with mistakes.gathered():
            plan = make_plan(draft.config)
    elif draft.config is not None:
        _check_models(draft.config, None, mistakes)
    mistakes.raise_all()
    return cast("Plan", plan)


def make_plan(config: AggregateConfig) -> Plan:
    """Make the plan of a configuration with every name resolved.

    Raises:
        CohortError: the cohort table cannot be used, or lacks a covariate.
        BagError: there are no bags, or they do not fit each other or the configuration.
        ConfigError: a model cannot be built as the configuration says, or the primary comparison names none.
        LeakError: an image belongs to two patients, or a covariate is the label.
        FoldError: the patients cannot be split as asked, or a study cannot pick on the tune patients of a fold.
        SeveralMistakesError: more than one of these.
    """
    mistakes = Mistakes()
    study: StudyCohort | None = None
    with mistakes.gathered():
        study = load_study(config)
    with mistakes.gathered():
        _check_logger(config)
    _check_models(config, study.patients if study else None, mistakes)
    folds: list[Fold] = []
    if study:
        _check_leaks(config, study, mistakes)
        if study.outcome is not None:
            with mistakes.gathered():
                check_outcome(config.aggregate, study.outcome)
        with mistakes.gathered():
            folds = choose_folds(config, study)
            check_events(folds, study)
            if config.aggregate.study is not None:
                check_tune_patients(config.aggregate.study, folds, study.patients)
    mistakes.raise_all()
    return _assembled(config, study, folds)


def choose_folds(config: AggregateConfig, study: StudyCohort) -> list[Fold]:
    """Return the folds that the configuration asks for."""
    splits, seed = config.aggregate.splits, config.aggregate.seed
    if splits.file is not None:
        aside = study.projected.patients.patient_ids if study.projected else ()
        return read_splits(splits.file, study.patients, kept_aside=aside)
    if splits.scheme == "leave-one-centre-out":
        return leave_one_centre_out(study.patients, tune_share=splits.tune_share, seed=seed)
    patients = for_folds(study, splits.folds)
    return repeated_folds(
        patients, folds=splits.folds, repeats=splits.repeats, tune_share=splits.tune_share, seed=seed
    )


def _draft(path: Path, overrides: Sequence[str], mistakes: Mistakes) -> Draft[AggregateConfig]:
    full = with_table(overrides, AggregateConfig, "aggregate")
    draft = draft_config(path, AggregateConfig, mistakes, overrides=full)
    if draft.config is None:
        return draft
    with mistakes.gathered(f"{path}: "):
        draft = replace(draft, config=with_models_of_study(draft.config))
    if draft.config is None or not _is_cohort_known(draft):
        return draft
    # A key at fault outside these may be one that names a model or a baseline.
    harmless = {"splits", "statistics", "tables"}
    is_whole = all(place[1] in harmless for place in draft.faulty if len(place) > 1)
    section = draft.config.aggregate
    if section.study is not None and not section.model:  # the grid has a mistake, which is told
        is_whole = False
    return replace(draft, config=with_names_resolved(draft.config, str(path), mistakes, is_whole=is_whole))


def _is_cohort_known(draft: Draft[AggregateConfig]) -> bool:
    """Say whether patients, phases and classes are those that are meant, so that names can be compared with them."""
    return all(place[0] == "aggregate" for place in draft.faulty)


def _check_logger(config: AggregateConfig) -> None:
    if config.aggregate.logger == "tensorboard" and find_spec("tensorboard") is None:
        raise ConfigError(
            "aggregate.logger = \"tensorboard\" needs the extra `tensorboard`: pip install 'phasemil[tensorboard]'; or leave "
            "the key out"
        )


def _check_models(config: AggregateConfig, patients: Patients | None, mistakes: Mistakes) -> None:
    """Build every model of the configuration, and what it builds for such patients."""
    of_models = Mistakes()
    where = _where(config)
    for name, model in config.aggregate.model.items():
        with of_models.gathered(where[name]):
            check_task_of(model.kind, config.aggregate.task)
            built = build_model(model.kind, model.parameters, random_state=0)
            check_can_be_asked_again(name, built, config.aggregate)
            classes = config.cohort.classes if patients is None else patients.classes
            built.try_building(patients if patients is not None else (), len(classes))
    with mistakes.gathered():
        of_models.raise_all()
        check_explained_model(config.aggregate)


def _where(config: AggregateConfig) -> Mapping[str, str]:
    """Return, by model, the place in the configuration; of a study that of the aggregator, to tell each mistake once."""
    section = config.aggregate
    if section.study is None or not section.model:  # no models: the grid has a mistake, told before
        return {name: f"aggregate.model.{name}: " for name in section.model}
    if section.study.budget_minutes is not None:
        return dict.fromkeys(section.model, "aggregate.study.aggregators: ")
    grid = grid_of(config)
    return {
        one.name: f"aggregate.study.beside.{one.name}: "
        if one.is_beside
        else f"aggregate.study.aggregators.{one.levels['aggregator']}: "
        for one in grid
    }


def _check_leaks(config: AggregateConfig, study: StudyCohort, mistakes: Mistakes) -> None:
    """Check the columns, and that nothing of the test patients or of the labels reaches the training."""
    with mistakes.gathered():
        every_set = study.all_headers.values()
        check_no_shared_images([header for headers in every_set for header in headers if header])
    with mistakes.gathered():
        check_study(config, study)
        read = columns_of_models(config.aggregate)
        if study.outcome is not None:
            check_outcome_is_not_read(read, study, config.aggregate.outcome)
            return
        for column, where in read.items():
            with mistakes.gathered():
                check_no_label_among_covariates({column: where}, study.rows, study.patients.codes)


def _check_classes_seen(
    model: str, is_seen: NDArray[np.bool_], folds: Sequence[Fold], patients: Patients
) -> None:
    """Refuse a model that sees no training patient of some class in a fold, and so would give nobody a chance of it.

    Raises:
        FoldError: model, fold and class are named.
    """
    for fold in folds:
        codes = patients.codes[fold.train]
        lost = np.setdiff1d(codes, codes[is_seen[fold.train]])
        if len(lost):
            raise FoldError(
                f"model {model}: repeat {fold.repeat}, fold {fold.fold}: no training patient of class "
                f"{patients.classes[lost[0]]} has a bag in the set that it reads, or any of its phases; leave out the model, "
                "or extract the missing bags"
            )


def _assembled(config: AggregateConfig, study: StudyCohort, folds: Sequence[Fold]) -> Plan:
    specs = with_baselines(config.aggregate, study)
    sees = {
        spec.name: build_model(spec.kind, spec.parameters, random_state=0).sees(study.patients)
        for spec in specs
    }
    for name, is_seen in sees.items():
        _check_classes_seen(name, is_seen, folds, study.patients)
    untested = never_tested(folds, study.patients.patient_ids)
    study = study.with_exclusions(
        [*(Exclusion(p, "", "splits", why) for p, why in untested), *without_phases_seen(study, sees)]
    )
    tasks = fit_tasks(study, folds, specs, seed=config.aggregate.seed)
    cache = FitCache(config.cache_folder)
    return Plan(
        config=config,
        study=study,
        folds=tuple(folds),
        specs=tuple(specs),
        tasks=tasks,
        cached=frozenset(t.key for name in tasks for t in tasks[name] if cache.holds(t.key)),
        seconds=recorded_seconds(config),
        seconds_of_patients=patients_of_record(config),
        remarks=(
            *how_the_table_was_read(config.aggregate, study),
            *remarks_on_study(config.aggregate, study, len(folds)),
            *remarks_on_outcome(config.aggregate, study),
        ),
    )
