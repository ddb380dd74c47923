"""An experiment: a configuration and its bags, cross-validated, with a record of what was done."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.cohort.study_cohort import StudyCohort, load_study
from aggregate.config import AggregateConfig
from aggregate.doctor import require_right_numbers
from aggregate.fitting.cross_validation import (
    OutOfFold,
    Watcher,
    Watchers,
    cross_validate,
    predictions_of,
)
from aggregate.fitting.progress import FitProgress
from aggregate.fitting.tensorboard_logger import fit_loggers
from aggregate.outcomes.fitting import outcome_predictions_of, told_so_far
from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.planning.baselines import with_baselines
from aggregate.planning.configured_names import used_covariates
from aggregate.planning.fit_tasks import ModelSpec, fit_tasks
from aggregate.planning.plan import Plan, choose_folds
from aggregate.planning.splits import read_splits
from aggregate.predictions import Predictions
from aggregate.run_folder.fit_seconds import FIT_SECONDS, seconds_to_record
from aggregate.run_folder.run_record import (
    BAG_ARRAYS,
    BAGS,
    BAGS_SHA256,
    CEILING,
    FITS,
    MODEL_CODE,
    RECIPES,
    RECORD,
    SPLITS_SHA256,
    SYNTHETIC,
    check_same_bags,
    fits_of_run,
    write_json,
)
from aggregate.store.fit_cache import FitCache, code_of_model
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS, split_rows
from pipeline.ceiling import read_ceiling, was_drawn
from pipeline.errors import ConfigError, ResultsError
from pipeline.files import sweep_partials
from pipeline.names import hint_of_nearest
from pipeline.provenance import sha256_of_file, sha256_of_json, software_versions, utc_now
from pipeline.run_log import detail

_BEST_SHOWN = 15
"""Configurations of a study in its live table, which would not fit on the screen as a whole."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished cross-validation and everything it was made of."""

    config: AggregateConfig
    study: StudyCohort
    specs: tuple[ModelSpec, ...]
    result: OutOfFold
    predictions: Predictions
    seconds: float


@dataclass(frozen=True, eq=False)
class OutcomeRun:
    """A finished cross-validation of models of an outcome."""

    config: AggregateConfig
    study: StudyCohort
    specs: tuple[ModelSpec, ...]
    result: OutOfFold
    predictions: OutcomePredictions
    seconds: float


def run_outcome_experiment(plan: Plan) -> OutcomeRun:
    """Fit what the plan lists and gather what is said of the patients; nothing but the cache of fits is written.

    Raises:
        MachineError: this machine computes wrong numbers.
    """
    started = time.monotonic()
    require_right_numbers()
    config, study = plan.config, plan.study
    sweep_partials(config.cache_folder)
    result = cross_validate_all(config, study, plan.folds, plan.specs)
    predictions = outcome_predictions_of(study, result, config.cohort.table)
    return OutcomeRun(config, study, plan.specs, result, predictions, time.monotonic() - started)


def run_experiment(plan: Plan) -> Run:
    """Fit what the plan lists and gather the predictions; nothing but the cache of fits is written.

    Raises:
        MachineError: this machine computes wrong numbers.
    """
    started = time.monotonic()
    require_right_numbers()
    config, study = plan.config, plan.study
    sweep_partials(config.cache_folder)
    loggers = fit_loggers(config, study.patients.codes, len(study.patients.classes))
    result = cross_validate_all(config, study, plan.folds, plan.specs, beside=loggers)
    return Run(config, study, plan.specs, result, predictions_of(study, result), time.monotonic() - started)


def reopen(config: AggregateConfig, *, only: str | None = None) -> Run:
    """Load a finished run again with its own splits.csv; fits missing from the cache are trained again.

    Args:
        config: of the run.
        only: the model that is loaded; None loads all.

    Raises:
        ConfigError: there is no such model.
        ResultsError: the patients, bags, labels, covariates or the software are not those of the run any more, or it predicted no
            classes.
    """
    config.require_classes("asking the models of a finished run again")
    started = time.monotonic()
    study = load_study(config)
    check_same_bags(config.results_folder, study.bag_keys)
    folds = read_splits(config.results_folder / SPLITS.location, study.patients)
    specs = [spec for spec in with_baselines(config.aggregate, study) if only is None or spec.name == only]
    if not specs:
        known = [spec.name for spec in with_baselines(config.aggregate, study)]
        raise ConfigError(f"no model {only!r} in this run; {hint_of_nearest(str(only), known)}")
    _check_same_fits(config, study, folds, specs)
    result = cross_validate_all(config, study, folds, specs)
    return Run(config, study, tuple(specs), result, predictions_of(study, result), time.monotonic() - started)


def _check_same_fits(
    config: AggregateConfig, study: StudyCohort, folds: Sequence[Fold], specs: Sequence[ModelSpec]
) -> None:
    tasks = fit_tasks(study, folds, specs, seed=config.aggregate.seed)
    fits = fits_of_run(config.results_folder)
    other = [name for name in tasks if [task.key for task in tasks[name]] != list(fits.get(name, ()))]
    if other:
        raise ResultsError(
            f"{config.results_folder}: model {other[0]} would differ from the model of the tables, because labels, covariates or the "
            "software have changed since the run; run `aggregate.py run` again"
        )


def run_null(config: AggregateConfig, study: StudyCohort, n_permutations: int) -> list[Predictions]:
    """Repeat the whole experiment on permuted labels; without leakage every model has an AUC near 0.5."""
    rng = np.random.default_rng([config.aggregate.seed, 0x4E55])
    specs = with_baselines(config.aggregate, study)
    predictions = []
    for n in range(n_permutations):
        detail(f"run on permuted labels, {n + 1} of {n_permutations}")
        shuffled = study.with_codes(rng.permutation(study.patients.codes))
        folds = choose_folds(config, shuffled)
        predictions.append(predictions_of(shuffled, cross_validate_all(config, shuffled, folds, specs)))
    return predictions


def tables_of_run(config: AggregateConfig, study: StudyCohort, folder: Path) -> ResultTables:
    """Return this run's tables in a folder; each row names the weights it rests on."""
    return ResultTables.of_settings(folder, config.aggregate, weights=study.weights)


def cross_validate_all(
    config: AggregateConfig,
    study: StudyCohort,
    folds: Sequence[Fold],
    specs: Sequence[ModelSpec],
    *,
    beside: Sequence[Watcher] = (),
) -> OutOfFold:
    """Cross-validate the models and show the progress; fits are kept in the experiment's cache; `beside` watch, too."""
    names = [spec.name for spec in specs]
    most = None if config.aggregate.study is None else _BEST_SHOWN
    so_far = None if study.outcome is None else told_so_far(study.outcome)
    with FitProgress(
        names, study.patients.codes, len(study.patients.classes), len(folds), most=most, so_far=so_far
    ) as progress:
        return cross_validate(
            study,
            folds,
            specs,
            cache=FitCache(config.cache_folder),
            seed=config.aggregate.seed,
            jobs=config.aggregate.jobs,
            watcher=Watchers((progress, *beside)),
        )


def write_record(
    run: Run | OutcomeRun, folder: Path, *, further_fits: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write splits.csv, excluded.csv, and run.json without the list of files.

    Args:
        run: what was done.
        folder: where to write.
        further_fits: keys of fits that it used beside those of its models, so that they stay in the cache.
    """
    study = run.study
    tables = tables_of_run(run.config, study, folder)
    tables.write(SPLITS, split_rows(run.result.folds, study.patients.patient_ids))
    tables.write(EXCLUDED, map(vars, study.exclusions))
    keys, ceiling = study.bag_keys, read_ceiling(run.config.cohort.table)
    record: dict[str, Any] = {
        "name": study.name,
        "config": run.config.model_dump(mode="json", by_alias=True),
        "weights": tables.weights,
        RECIPES: {
            name: {**vars(recipe), "key": recipe.key, "random_weights": recipe.has_random_weights}
            for name, recipe in study.matched.recipes.items()
        },
        BAGS: keys,
        BAGS_SHA256: sha256_of_json(keys),
        BAG_ARRAYS: study.bag_arrays(),
        SPLITS_SHA256: sha256_of_file(tables.path(SPLITS)),
        FITS: {
            **{name: [task.key for task in tasks] for name, tasks in run.result.tasks.items()},
            **(further_fits or {}),
        },
        MODEL_CODE: {spec.name: code_of_model(spec.kind, spec.parameters) for spec in run.specs},
        "n_patients": len(run.predictions.patient_ids),
        "n_excluded": len(study.exclusions),
        SYNTHETIC: was_drawn(run.config.cohort.table),
        CEILING: None if ceiling is None else asdict(ceiling),
        "remarks": list(study.matched.remarks),
        "translations": [vars(translation) for translation in study.matched.translations],
        "covariates": {c.name: c.record() for c in used_covariates(run.config.aggregate, study.rows)},
        "seconds": round(run.seconds, 2),
        FIT_SECONDS: seconds_to_record(run.config, run.result.seconds),
        "software": dict(software_versions()),
        "created_utc": utc_now(),
    }
    write_json(folder / RECORD, record)
