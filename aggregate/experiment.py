"""An experiment: a configuration and its bags, cross-validated, with a record of what was done."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.baselines import with_baselines
from aggregate.cache import FitCache
from aggregate.config import AggregateConfig
from aggregate.crossval import ModelSpec, OutOfFold, cross_validate, predictions_of
from aggregate.doctor import require_right_numbers
from aggregate.folds import Fold
from aggregate.leaks import check_no_label_among_covariates, check_no_shared_images
from aggregate.predictions import Predictions
from aggregate.progress import LiveTable
from aggregate.report.page import FIGURES, REPORT
from aggregate.resolve import check_study, how_the_table_was_read, used_covariates
from aggregate.splits import leave_one_centre_out, read_splits, repeated_folds, write_splits
from aggregate.study import Study, load_study
from aggregate.tables.catalogue import CATALOGUE
from aggregate.tables.twins import SUFFIX, write_with_twin
from pipeline.bags import RANDOM_BANNER, Recipe
from pipeline.files import sweep_partials, written_whole
from pipeline.provenance import sha256_of_file, sha256_of_json, software_versions, utc_now
from pipeline.tables import TableStyle

EXCLUDED_COLUMNS = ("patient_id", "phase", "stage", "reason")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished cross-validation and everything it was made of."""

    config: AggregateConfig
    study: Study
    specs: tuple[ModelSpec, ...]
    result: OutOfFold
    predictions: Predictions
    seconds: float


def _say_nothing(line: str) -> None:
    del line


def run_experiment(config: AggregateConfig, *, tell: Callable[[str], None] = _say_nothing) -> Run:
    """Cross-validate every model of the configuration; write splits.csv, excluded.csv and run.json.

    Args:
        config: with every name resolved.
        tell: receives how the cohort table was read, one line at a time, before anything is trained.

    Raises:
        CohortError: the cohort table cannot be used, or lacks a covariate.
        ConfigError: the primary comparison names a model that is not run.
        LeakError: an image belongs to two patients, or a covariate is the label.
        FoldError: the patients cannot be split as asked.
        MachineError: this machine computes other numbers than it should.
    """
    started = time.monotonic()
    require_right_numbers()
    study = load_study(config)
    for line in how_the_table_was_read(config.aggregate, study):
        tell(line)
    check_study(config, study)
    check_no_shared_images(study.headers)
    check_no_label_among_covariates(config.aggregate.covariates, study.patients, study.labels)
    folds = choose_folds(config, study)
    style = table_style(config, study.recipe)
    config.output.mkdir(parents=True, exist_ok=True)
    for folder in (config.output, config.cache_folder, config.concepts_folder):
        sweep_partials(folder)
    _remove_older_results(config.output)
    write_splits(config.output / "splits.csv", folds, study.patient_ids, style)
    write_with_twin(
        config.output / "excluded.csv", EXCLUDED_COLUMNS, map(vars, study.exclusions), style=style
    )
    specs = with_baselines(config.aggregate, study)
    result = cross_validate_all(config, study, folds, specs)
    run = Run(config, study, tuple(specs), result, predictions_of(study, result), time.monotonic() - started)
    _write_provenance(run)
    return run


def reopen(config: AggregateConfig) -> Run:
    """Gather a finished run again, on its own splits.csv; what the cache lacks is trained anew."""
    started = time.monotonic()
    study = load_study(config)
    folds = read_splits(config.output / "splits.csv", study.roster)
    specs = with_baselines(config.aggregate, study)
    result = cross_validate_all(config, study, folds, specs)
    return Run(config, study, tuple(specs), result, predictions_of(study, result), time.monotonic() - started)


def _remove_older_results(folder: Path) -> None:
    """Take away what an earlier run of this experiment left, so that no table of another run stands beside."""
    for name in {entry.file for entry in CATALOGUE}:
        (folder / name).unlink(missing_ok=True)
        (folder / name).with_suffix(SUFFIX).unlink(missing_ok=True)
    (folder / REPORT).unlink(missing_ok=True)
    shutil.rmtree(folder / FIGURES, ignore_errors=True)


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


def choose_folds(config: AggregateConfig, study: Study) -> list[Fold]:
    """Return the folds that the configuration asks for."""
    splits, seed = config.aggregate.splits, config.aggregate.seed
    if splits.file is not None:
        return read_splits(splits.file, study.roster)
    if splits.scheme == "leave-one-centre-out":
        return leave_one_centre_out(study.roster, tune_share=splits.tune_share, seed=seed)
    return repeated_folds(
        study.roster, folds=splits.folds, repeats=splits.repeats, tune_share=splits.tune_share, seed=seed
    )


def table_style(config: AggregateConfig, recipe: Recipe) -> TableStyle:
    """Return how this run's tables are written; each row names the weights it rests on."""
    banner = f"{RANDOM_BANNER} ({recipe.weights_name})" if recipe.has_random_weights else recipe.weights_name
    return style_with_weights(config, banner)


def style_with_weights(config: AggregateConfig, weights: str) -> TableStyle:
    """Return how tables are written when their rows rest on the weights so described."""
    tables = config.aggregate.tables
    return TableStyle(tables.separator, tables.decimal, stamp={"weights": weights})


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


def _write_provenance(run: Run) -> None:
    recipe = run.study.recipe
    record: dict[str, Any] = {
        "name": run.study.name,
        "config": run.config.model_dump(mode="json"),
        "weights": table_style(run.config, recipe).stamp["weights"],
        "recipe": {**vars(recipe), "key": recipe.key, "random_weights": recipe.has_random_weights},
        "bags_sha256": sha256_of_json([h.content_key for h in run.study.headers]),
        "splits_sha256": sha256_of_file(run.config.output / "splits.csv"),
        "fits": {name: [task.key for task in tasks] for name, tasks in run.result.tasks.items()},
        "n_patients": len(run.study.labels),
        "n_excluded": len(run.study.exclusions),
        "translations": [vars(translation) for translation in run.study.translations],
        "covariates": {c.name: c.record() for c in used_covariates(run.config.aggregate, run.study.patients)},
        "seconds": round(run.seconds, 2),
        "software": dict(software_versions()),
        "created_utc": utc_now(),
    }
    write_json(run.config.output / "run.json", record)


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON, whole or not at all; tables keep the order of the configuration."""
    with written_whole(path) as sibling:
        sibling.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
