"""An experiment: a configuration and its bags, cross-validated, with a record of what was done."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.baselines import with_baselines
from aggregate.cache import FitCache
from aggregate.config import AggregateConfig
from aggregate.crossval import ModelSpec, OutOfFold, cross_validate, fit_tasks, predictions_of
from aggregate.doctor import require_right_numbers
from aggregate.finished import (
    BAGS,
    BAGS_SHA256,
    FITS,
    RECORD,
    SPLITS_SHA256,
    check_same_bags,
    fits_of_run,
    write_json,
)
from aggregate.fit_seconds import FIT_SECONDS, seconds_to_record
from aggregate.folds import Fold
from aggregate.plan import Plan, choose_folds
from aggregate.predictions import Predictions
from aggregate.progress import LiveTable
from aggregate.resolve import used_covariates
from aggregate.splits import read_splits
from aggregate.study import Study, load_study
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS, split_rows
from pipeline.bags import RANDOM_BANNER, Recipe
from pipeline.errors import ResultsError
from pipeline.files import sweep_partials
from pipeline.provenance import sha256_of_file, sha256_of_json, software_versions, utc_now


@dataclass(frozen=True, eq=False)
class Run:
    """A finished cross-validation and everything it was made of."""

    config: AggregateConfig
    study: Study
    specs: tuple[ModelSpec, ...]
    result: OutOfFold
    predictions: Predictions
    seconds: float


def run_experiment(plan: Plan) -> Run:
    """Fit what the plan lists and gather the predictions; nothing but the cache of fits is written.

    Raises:
        MachineError: this machine computes other numbers than it should.
    """
    started = time.monotonic()
    require_right_numbers()
    config, study = plan.config, plan.study
    for folder in (config.cache_folder, config.concepts_folder):
        sweep_partials(folder)
    result = cross_validate_all(config, study, plan.folds, plan.specs)
    return Run(config, study, plan.specs, result, predictions_of(study, result), time.monotonic() - started)


def reopen(config: AggregateConfig) -> Run:
    """Gather a finished run again, on its own splits.csv; what the cache lacks is trained anew to the same.

    Raises:
        ResultsError: the patients, bags, labels, covariates or the software are not those of the run any more.
    """
    started = time.monotonic()
    study = load_study(config)
    check_same_bags(config.results_folder, bag_keys(study))
    folds = read_splits(config.results_folder / SPLITS.file, study.roster)
    specs = with_baselines(config.aggregate, study)
    _check_same_fits(config, study, folds, specs)
    result = cross_validate_all(config, study, folds, specs)
    return Run(config, study, tuple(specs), result, predictions_of(study, result), time.monotonic() - started)


def _check_same_fits(
    config: AggregateConfig, study: Study, folds: Sequence[Fold], specs: Sequence[ModelSpec]
) -> None:
    tasks = fit_tasks(study, folds, specs, seed=config.aggregate.seed)
    fits = fits_of_run(config.results_folder)
    other = [name for name in tasks if [task.key for task in tasks[name]] != list(fits.get(name, ()))]
    if other:
        raise ResultsError(
            f"{config.results_folder}: model {other[0]} would not be the one of the tables, since labels, covariates or the "
            "software have changed since the run; run `aggregate.py run` again"
        )


def bag_keys(study: Study) -> dict[str, str]:
    """Return the content key of every bag by patient, in the order of the study."""
    return {header.patient_id: header.content_key for header in study.headers}


def run_null(config: AggregateConfig, study: Study, n_permutations: int) -> list[Predictions]:
    """Repeat the whole experiment on permuted labels; every honest model comes out at an AUC of 0.5."""
    rng = np.random.default_rng([config.aggregate.seed, 0x4E55])
    specs = with_baselines(config.aggregate, study)
    predictions = []
    for _ in range(n_permutations):
        shuffled = replace(study, labels=rng.permutation(study.labels))
        folds = choose_folds(config, shuffled)
        predictions.append(predictions_of(shuffled, cross_validate_all(config, shuffled, folds, specs)))
    return predictions


def tables_of_run(config: AggregateConfig, recipe: Recipe, folder: Path) -> ResultTables:
    """Return this run's tables in a folder; each row names the weights it rests on."""
    banner = f"{RANDOM_BANNER} ({recipe.weights_name})" if recipe.has_random_weights else recipe.weights_name
    return ResultTables.of_settings(folder, config.aggregate, weights=banner)


def cross_validate_all(
    config: AggregateConfig, study: Study, folds: Sequence[Fold], specs: Sequence[ModelSpec]
) -> OutOfFold:
    """Cross-validate the models with a live table on the screen; fits are kept in the experiment's cache."""
    names = [spec.name for spec in specs]
    with LiveTable(names, study.labels, len(study.classes), len(folds)) as watcher:
        return cross_validate(
            study,
            folds,
            specs,
            cache=FitCache(config.cache_folder),
            seed=config.aggregate.seed,
            jobs=config.aggregate.jobs,
            watcher=watcher,
        )


def write_record(run: Run, folder: Path) -> None:
    """Write splits.csv, excluded.csv, and run.json without the list of files."""
    recipe, study = run.study.recipe, run.study
    tables = tables_of_run(run.config, recipe, folder)
    tables.write(SPLITS, split_rows(run.result.folds, study.patient_ids))
    tables.write(EXCLUDED, map(vars, study.exclusions))
    keys = bag_keys(study)
    record: dict[str, Any] = {
        "name": study.name,
        "config": run.config.model_dump(mode="json", by_alias=True),
        "weights": tables.weights,
        "recipe": {**vars(recipe), "key": recipe.key, "random_weights": recipe.has_random_weights},
        BAGS: keys,
        BAGS_SHA256: sha256_of_json(list(keys.values())),
        SPLITS_SHA256: sha256_of_file(tables.path(SPLITS)),
        FITS: {name: [task.key for task in tasks] for name, tasks in run.result.tasks.items()},
        "n_patients": len(run.predictions.patient_ids),
        "n_excluded": len(study.exclusions),
        "remarks": list(study.remarks),
        "translations": [vars(translation) for translation in study.translations],
        "covariates": {c.name: c.record() for c in used_covariates(run.config.aggregate, study.patients)},
        "seconds": round(run.seconds, 2),
        FIT_SECONDS: seconds_to_record(run.config, run.result.seconds),
        "software": dict(software_versions()),
        "created_utc": utc_now(),
    }
    write_json(folder / RECORD, record)
