"""A study within a budget of minutes: every fold searches the grid by successive halving, as far as the time goes."""

import time
from collections.abc import Callable, Sequence

from joblib import effective_n_jobs

from aggregate.cohort.folds import Fold
from aggregate.config import AggregateConfig
from aggregate.cross_validated_run import Run
from aggregate.doctor import require_right_numbers
from aggregate.fitting.cross_validation import (
    OutOfFold,
    Watcher,
    Watchers,
    cross_validate,
    is_on_gpu,
    predictions_of,
)
from aggregate.fitting.progress import FitProgress
from aggregate.fitting.tensorboard_logger import fit_loggers
from aggregate.fitting.within_budget import SHARE_OF_TRIAL, complete_repeats, kept_trial, try_configurations
from aggregate.model_section import ModelSection
from aggregate.models.halving import Halving
from aggregate.planning.fit_tasks import FitTask, ModelSpec
from aggregate.planning.plan import Plan
from aggregate.planning.study_budget import Room, Schedule, Trial, drawn_order, lines_of, scheduled
from aggregate.planning.study_grid import HALVING, grid_of
from aggregate.store.fit_cache import Fit, FitCache
from aggregate.study_section import StudySection
from pipeline.files import sweep_partials
from pipeline.provenance import sha256_of_json


def run_within_budget(plan: Plan, study: StudySection, minutes: float, tell: Callable[[str], None]) -> Run:
    """Spend the minutes on the plan of a study, telling beforehand on what, and gather the predictions.

    Whatever was fitted is kept; the same command again takes it from the cache and goes on from there.

    Raises:
        MachineError: this machine computes wrong numbers.
    """
    started = time.monotonic()
    require_right_numbers()
    sweep_partials(plan.config.cache_folder)
    config, halving = plan.config, _halving(plan.specs)
    n_jobs = 1 if is_on_gpu(plan.specs[0]) else effective_n_jobs(config.aggregate.jobs)
    order = drawn_order(grid_of(config), config.aggregate.seed)
    trial = _trial(plan, halving, order, minutes * 60, n_jobs)
    repeats = sorted({fold.repeat for fold in plan.folds})
    room = Room(
        seconds=minutes * 60 - trial.took_s,
        codes=plan.study.patients.codes[plan.folds[0].train],
        folds=sum(fold.repeat == repeats[0] for fold in plan.folds),
        repeats=len(repeats),
        n_jobs=n_jobs,
    )
    schedule = scheduled(order, halving, trial, room)
    for line in lines_of(schedule, halving, trial, minutes, len(repeats)):
        tell(line)
    config = _of_tried(config, schedule)
    specs = (ModelSpec(HALVING, HALVING, config.aggregate.model[HALVING].parameters), *plan.specs[1:])
    folds = [fold for fold in plan.folds if fold.repeat in repeats[: schedule.repeats]]
    result = _fitted(plan, specs, folds, at_once=n_jobs, deadline=started + minutes * 60)
    n_complete = len({fold.repeat for fold in result.folds})
    if n_complete < schedule.repeats:
        tell(f"The time is over: {n_complete} of {schedule.repeats} repeats are complete")
    found = predictions_of(plan.study, result)
    return Run(config, plan.study, specs, result, found, time.monotonic() - started)


def _halving(specs: Sequence[ModelSpec]) -> Halving:
    return Halving(random_state=0, **dict(specs[0].parameters))


def _trial(plan: Plan, halving: Halving, order: Sequence[str], budget_s: float, jobs: int) -> Trial:
    cache = FitCache(plan.config.cache_folder)
    key = sha256_of_json(["trial", budget_s, [task.key for task in plan.tasks[HALVING]]])[:32]
    patients, fold = plan.study.patients, plan.folds[0]
    limit_s = SHARE_OF_TRIAL * budget_s
    return kept_trial(
        cache.store,
        key,
        lambda: try_configurations(patients, fold, halving, order, jobs=jobs, limit_s=limit_s),
    )


def _of_tried(config: AggregateConfig, schedule: Schedule) -> AggregateConfig:
    """Return the configuration with those models inside the halving for which there is time."""
    section = config.aggregate.model[HALVING]
    inside = {name: one for name, one in section.parameters["models"].items() if name in schedule.tried}
    model = ModelSection.model_validate({"kind": HALVING, **section.parameters, "models": inside})
    return config.model_copy(
        update={"aggregate": config.aggregate.model_copy(update={"model": {HALVING: model}})}
    )


def _fitted(
    plan: Plan, specs: Sequence[ModelSpec], folds: Sequence[Fold], *, at_once: int, deadline: float
) -> OutOfFold:
    study, config = plan.study, plan.config
    cache = FitCache(config.cache_folder)

    def fit(some: Sequence[Fold], watcher: Watcher) -> OutOfFold:
        return cross_validate(
            study, some, specs, cache=cache, seed=config.aggregate.seed, jobs=config.aggregate.jobs, watcher=watcher
        )  # fmt: skip

    names = [spec.name for spec in specs]
    with FitProgress(names, study.patients.codes, len(study.patients.classes), len(folds)) as table:
        loggers = fit_loggers(config, study.patients.codes, len(study.patients.classes))
        watchers = Watchers((table, *loggers))
        complete = complete_repeats(
            lambda some: fit(some, watchers), folds, at_once=at_once, deadline=deadline
        )
    return fit(complete, _Unseen())


class _Unseen:
    """Watches fits whose progress was shown before."""

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Show nothing."""
