"""`aggregate.py run`: from bags to out-of-fold predictions to tables."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from aggregate.baselines import with_baselines
from aggregate.cache import FitCache
from aggregate.cohort_facts import CohortFacts, describe_patient
from aggregate.config import AggregateConfig
from aggregate.crossval import ModelSpec, OutOfFold, cross_validate, predictions_of, tuning_of
from aggregate.finished import config_of_run
from aggregate.folds import Fold
from aggregate.leaks import check_no_label_among_covariates, check_no_shared_images
from aggregate.null import write_null
from aggregate.predictions import Predictions
from aggregate.progress import LiveTable
from aggregate.splits import leave_one_centre_out, read_splits, repeated_folds, write_splits
from aggregate.study import Study, load_study
from aggregate.summary import print_summary
from aggregate.tables.predictions import read_predictions
from aggregate.tables.write import write_tables
from pipeline.bags import RANDOM_BANNER, Recipe
from pipeline.config import load_config
from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file, sha256_of_json, software_versions, utc_now
from pipeline.tables import TableStyle, write_table

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


def load_aggregate_config(path: Path, overrides: Sequence[str]) -> AggregateConfig:
    """Read a configuration; overrides without a top-level table mean [aggregate], as in model.attention.hidden=64.

    Raises:
        ConfigError: the file or an override does not fit.
    """
    tables = set(AggregateConfig.model_fields)
    full = [o if o.partition(".")[0].partition("=")[0] in tables else f"aggregate.{o}" for o in overrides]
    return load_config(path, AggregateConfig, overrides=full)


def run_and_report(config: AggregateConfig, *, n_null: int, console: Console) -> None:
    """Run the experiment, write every table, and print the performance and where the tables lie."""
    run = run_experiment(config)
    style = table_style(config, run.study.recipe)
    write_tables(
        config.output,
        run.predictions,
        tested_facts(run.study, run.predictions),
        config.aggregate.statistics,
        style,
        tuning=tuning_of(run.study, run.result),
    )
    if n_null:
        write_null(config.output, run.predictions, run_null(config, n_null), style)
    print_summary(config.output, config.cohort.classes, console, style)


def rebuild_tables(folder: Path, *, console: Console) -> None:
    """Write every table of a finished run again from its predictions.csv, without training.

    Raises:
        ResultsError: the folder is not that of a finished run.
    """
    config = config_of_run(folder)
    study = load_study(config)
    style = table_style(config, study.recipe)
    predictions = read_predictions(config.output, style=style)
    facts = tested_facts(study, predictions)
    write_tables(config.output, predictions, facts, config.aggregate.statistics, style)
    print_summary(config.output, config.cohort.classes, console, style)


def tested_facts(study: Study, predictions: Predictions) -> CohortFacts:
    """Return what the tables must know of the tested patients, in the order of the predictions."""
    index = {patient_id: i for i, patient_id in enumerate(study.patient_ids)}
    tested = [index[patient_id] for patient_id in predictions.patient_ids]
    return CohortFacts(tuple(describe_patient(study.bags[i], study.patients[i]) for i in tested))


def run_experiment(config: AggregateConfig) -> Run:
    """Cross-validate every model of the configuration; write splits.csv, excluded.csv and run.json.

    Raises:
        LeakError: an image belongs to two patients, or a covariate is the label.
        FoldError: the patients cannot be split as asked.
    """
    started = time.monotonic()
    study = load_study(config)
    check_no_shared_images(study.headers)
    check_no_label_among_covariates(config.aggregate.covariates, study.patients, study.labels)
    folds = choose_folds(config, study)
    style = table_style(config, study.recipe)
    config.output.mkdir(parents=True, exist_ok=True)
    write_splits(config.output / "splits.csv", folds, study.patient_ids, style)
    write_table(config.output / "excluded.csv", EXCLUDED_COLUMNS, map(vars, study.exclusions), style=style)
    specs = with_baselines(config.aggregate, study)
    result = _cross_validate(config, study, folds, specs)
    run = Run(config, study, tuple(specs), result, predictions_of(study, result), time.monotonic() - started)
    _write_provenance(run)
    return run


def run_null(config: AggregateConfig, n_permutations: int) -> list[Predictions]:
    """Repeat the whole experiment on permuted labels; every honest model comes out at an AUC of 0.5."""
    study = load_study(config)
    rng = np.random.default_rng([config.aggregate.seed, 0x4E55])
    specs = with_baselines(config.aggregate, study)
    predictions = []
    for _ in range(n_permutations):
        shuffled = replace(study, labels=rng.permutation(study.labels))
        folds = choose_folds(config, shuffled)
        predictions.append(predictions_of(shuffled, _cross_validate(config, shuffled, folds, specs)))
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
    tables = config.aggregate.tables
    return TableStyle(tables.separator, tables.decimal, stamp={"weights": banner})


def _cross_validate(
    config: AggregateConfig, study: Study, folds: Sequence[Fold], specs: Sequence[ModelSpec]
) -> OutOfFold:
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
        "recipe": {**vars(recipe), "key": recipe.key, "random_weights": recipe.has_random_weights},
        "bags_sha256": sha256_of_json([h.content_key for h in run.study.headers]),
        "splits_sha256": sha256_of_file(run.config.output / "splits.csv"),
        "fits": {name: [task.key for task in tasks] for name, tasks in run.result.tasks.items()},
        "n_patients": len(run.study.labels),
        "n_excluded": len(run.study.exclusions),
        "seconds": round(run.seconds, 2),
        "software": dict(software_versions()),
        "created_utc": utc_now(),
    }
    write_json(run.config.output / "run.json", record)


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON, whole or not at all."""
    with written_whole(path) as sibling:
        sibling.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
