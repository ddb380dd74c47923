"""`aggregate.py freeze`: a model of a finished run becomes a package."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from aggregate.carried_out import facts_of
from aggregate.cohort.patient_facts import CohortFacts
from aggregate.config import AggregateConfig
from aggregate.cross_validated_run import Run, reopen
from aggregate.fitting.cross_validation import tuning_of
from aggregate.orchestration import finished_run
from aggregate.package.bag_contract import CONTRACT, PackageContract, contract_of, rare_words
from aggregate.package.expected_performance import calibrated_out_of_fold, write_expected
from aggregate.package.loaded_package import DECISIONS, Decisions, Package, load_package
from aggregate.package.model_card import MODEL_CARD, CardFacts, card_of
from aggregate.package.model_folders import check_freezable, copy_models, has_code
from aggregate.package.package_files import RECORD, PackageRecord, hashes_of_files, is_package, write_part
from aggregate.package.prediction_sets import measured_levels
from aggregate.package.read_features import readings_of_model
from aggregate.package.refitting import Refit, like_the_package, refitted_tasks
from aggregate.package.stage_1_settings import write_stage_1
from aggregate.package.temperature import (
    CALIBRATION,
    cross_fitted_temperatures,
    learn_calibration,
    with_temperature,
)
from aggregate.package.training_cohort import TRAINING_COHORT, TrainingCohort, training_cohort
from aggregate.package.training_distribution import learn_distribution
from aggregate.package.training_measures import TRAINING_MEASURES, training_measures
from aggregate.planning.configured_names import published_columns, used_covariates
from aggregate.planning.fit_tasks import FitTask
from aggregate.run_folder.placing import was_changed
from aggregate.run_folder.run_record import RECORD as RUN_RECORD
from aggregate.run_folder.run_record import SYNTHETIC, record_of
from aggregate.store.fit_cache import FitCache
from aggregate.tables.calibration import CALIBRATION as CALIBRATION_TABLE
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.predictions import PREDICTIONS, read_predictions
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS
from aggregate.tables.tuning import TUNE_PREDICTIONS
from pipeline.errors import PackageError, ResultsError
from pipeline.files import replaced_whole
from pipeline.phase_roles import phase_roles
from pipeline.provenance import sha256_of_file, software_versions, utc_now
from pipeline.run_log import say

_READ = (PREDICTIONS, SPLITS, TUNE_PREDICTIONS)
"""Tables of the run that a package rests on."""
_SAME_PREDICTION = 1e-6


@dataclass(frozen=True)
class FreezeChoices:
    """What the user says of a package to come.

    Attributes:
        model: name of the model in the run.
        refit: how its models come about.
        overwrite: whether a package that stands there is replaced.
        with_code: whether a Python file of the user may go into it.
        keep_rare_words: whether words of a covariate that few patients have may go into it.
    """

    model: str
    refit: Refit
    overwrite: bool = False
    with_code: bool = False
    keep_rare_words: bool = False


def freeze_model(results: Path, out: Path, choices: FreezeChoices, *, console: Console) -> Package:
    """Write a package of a model of a finished run, whole or not at all, and return it.

    Raises:
        ResultsError: the folder is not that of a finished run, or is not as its run.json says.
        PackageError: the model cannot be frozen, or something stands in the way.
        ConfigError: there is no such model, or it needs a word of the user.
    """
    _check_place(out, overwrite=choices.overwrite)
    tell = partial(say, console)
    with finished_run(results, "aggregate.py freeze", console) as config:
        _check_unchanged(config)
        run = reopen(config, only=choices.model)
        (spec,) = run.specs
        check_freezable(spec.kind, spec.parameters, with_code=choices.with_code)
        contract = contract_of(config, run.study, spec)
        _check_words(run, contract, keep=choices.keep_rare_words)
        _check_predictions(run)
        tasks = refitted_tasks(run, choices.refit)
        with replaced_whole(out) as folder:
            write_package(run, contract, tasks, choices, folder)
            _check_place(out, overwrite=choices.overwrite)
        package = load_package(out, run_code=True)
        tell(
            f"{out}: {choices.model} of {config.name}, {len(tasks)} fitted models ({choices.refit}); read {MODEL_CARD}"
        )
        tell(f"SHA-256 of the package: {package.sha256}")
    return package


def _check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse to write where something else stands.

    Raises:
        PackageError: what stands there, and what to do.
    """
    if not out.exists():
        return
    if not is_package(out):
        raise PackageError(f"{out}: exists, and is no package; choose another folder")
    if not overwrite:
        raise PackageError(
            f"{out}: a package stands here; say --overwrite to replace it, or choose another folder"
        )


def _check_unchanged(config: AggregateConfig) -> None:
    """Refuse a run whose tables are not those that it wrote.

    Raises:
        ResultsError: the table is named.
    """
    for table in _READ:
        if was_changed(config.results_folder, table.location):
            raise ResultsError(
                f"{config.results_folder / table.location}: not as the run left it, so that what a package told of its model would not be "
                "true; put the file back, or run `aggregate.py run` again"
            )


def _check_predictions(run: Run) -> None:
    """Refuse a run whose models do not say what its predictions.csv says.

    Raises:
        ResultsError: with the largest difference.
    """
    (spec,) = run.specs
    tables = ResultTables.of_settings(
        run.config.results_folder, run.config.aggregate, weights=run.study.weights
    )
    told = read_predictions(tables)
    same = told.patient_ids == run.predictions.patient_ids and spec.name in told.probabilities
    gap = (
        float(np.abs(told.probabilities[spec.name] - run.predictions.probabilities[spec.name]).max())
        if same and told.probabilities[spec.name].shape == run.predictions.probabilities[spec.name].shape
        else None
    )
    if gap is None or gap > _SAME_PREDICTION:
        raise ResultsError(
            f"{tables.path(PREDICTIONS)}: the models in the cache say something else of {spec.name}"
            f"{'' if gap is None else f' (a probability differs by {gap:.2g})'}; run `aggregate.py run` again"
        )


def _check_words(run: Run, contract: PackageContract, *, keep: bool) -> None:
    """Refuse to let words of few patients out, unless the user says so.

    Raises:
        PackageError: the covariate is named, not the words.
    """
    rare = rare_words(run.study.patients, contract)
    if rare and not keep:
        name, n = next(iter(rare.items()))
        raise PackageError(
            f"covariate {name!r}: {n} of its words are those of fewer than 5 patients each, and the model holds them; put them "
            "together to one word in the cohort table and run again, or say --keep-rare-words if they may leave"
        )


def write_package(
    run: Run, contract: PackageContract, tasks: Sequence[FitTask], choices: FreezeChoices, folder: Path
) -> None:
    """Write the files of a package to an empty folder.

    Args:
        run: with the one model.
        contract: what it asks of new patients.
        tasks: the fits that the package holds.
        choices: of the user.
        folder: where to.
    """
    (spec,) = run.specs
    models = copy_models(tasks, FitCache(run.config.cache_folder), folder)
    facts = facts_of(run.study, published_columns(run.config.aggregate))
    settings = run.config.aggregate.statistics
    raw = run.predictions.probabilities[spec.name]
    labels = run.predictions.labels
    alike, fold = like_the_package(raw, run.predictions.fold, choices.refit)
    calibration = learn_calibration(spec.kind, alike, labels)
    temperatures = cross_fitted_temperatures(spec.kind, alike, labels, fold)
    shown = np.stack(
        [
            np.stack([with_temperature(p, float(t)) for p, t in zip(rows, of_rows, strict=True)])
            for rows, of_rows in zip(alike, temperatures, strict=True)
        ]
    )
    tables = ResultTables(folder, confidence=settings.confidence, weights=run.study.weights)
    calibrated = calibrated_out_of_fold(
        spec.kind, run.predictions, tuning_of(run.study, run.result)[spec.name]
    )
    thresholds = write_expected(tables, calibrated, settings)
    decisions = Decisions(
        rule=_rule_of(run.config),
        thresholds=dict(thresholds),
        prediction_sets=tuple(measured_levels(shown, labels, fold, contract.classes)),
    )
    cohort = _cohort(run, facts)
    why_not = write_stage_1(run.config, contract, folder)
    if contract.bag_sets:
        readings = readings_of_model(spec.kind, spec.parameters)
        learn_distribution(run.study.patients, readings, tuple(contract.bag_sets)).write(folder)
    for name, part in (
        (CONTRACT, contract),
        (CALIBRATION, calibration),
        (DECISIONS, decisions),
        (TRAINING_COHORT, cohort),
        (TRAINING_MEASURES, training_measures(run.study, phase_roles(run.config.cohort))),
    ):
        write_part(folder, name, part)
    record = _record(run, choices, tasks, models, folder)
    card = CardFacts(
        record=record,
        contract=contract,
        calibration=calibration,
        decisions=decisions,
        cohort=cohort,
        performance=tables.read(PERFORMANCE),
        calibration_rows=tables.read(CALIBRATION_TABLE),
        level=tables.level,
        stage_1_missing=why_not,
    )
    text = card_of(card)
    (folder / MODEL_CARD).write_text(text, encoding="utf-8")
    write_part(folder, RECORD, record.model_copy(update={"files": dict(hashes_of_files(folder))}))


def _rule_of(config: AggregateConfig) -> str:
    settings = config.aggregate.statistics
    if settings.threshold_rule == "youden":
        return "youden"
    return f"{settings.threshold_rule} at least {settings.threshold_target:g}"


def _cohort(run: Run, facts: CohortFacts) -> TrainingCohort:
    return training_cohort(facts, used_covariates(run.config.aggregate, run.study.rows))


def _record(
    run: Run, choices: FreezeChoices, tasks: Sequence[FitTask], models: Sequence[str], folder: Path
) -> PackageRecord:
    (spec,) = run.specs
    results = run.config.results_folder
    return PackageRecord(
        experiment=run.config.name,
        model=spec.name,
        kind=spec.kind,
        refit=choices.refit,
        models=tuple(models),
        fits=tuple(task.key for task in tasks),
        has_code=has_code(folder),
        is_synthetic=bool((record_of(results) or {}).get(SYNTHETIC)),
        confidence=run.config.aggregate.statistics.confidence,
        run_sha256=sha256_of_file(results / RUN_RECORD),
        software=dict(software_versions()),
        created_utc=utc_now(),
        files={},
    )
