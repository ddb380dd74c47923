"""The command `study`: a grid of models cross-validated, ranked, and asked which choice matters."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from threadpoolctl import threadpool_limits

from aggregate.budgeted_run import run_within_budget
from aggregate.carried_out import carry_out, check_files, facts_of
from aggregate.config import AggregateConfig
from aggregate.cross_validated_run import Run, run_experiment, tables_of_run, write_record
from aggregate.fitting.cross_validation import tuning_of
from aggregate.fitting.smaller_training import CurvePoint
from aggregate.paper.writing import write_paper
from aggregate.planning.configured_names import published_columns
from aggregate.planning.plan import Plan
from aggregate.planning.study_grid import grid_of
from aggregate.report.page import write_report
from aggregate.study.basis import StudyBasis, StudyTable
from aggregate.study.configurations import described, read_configurations, write_configurations
from aggregate.study.halving import rebuild_halving_tables, write_halving
from aggregate.study.printed import print_leaderboard
from aggregate.study_questions import fit_learning_curves, keys_of, write_asked_tables
from aggregate.study_section import StudySection
from aggregate.tables.cohort import COHORT, cohort_names, cohort_rows
from aggregate.tables.dictionary import write_columns
from aggregate.tables.predictions import read_predictions, write_predictions
from aggregate.tables.registry import all_tables, written_by
from aggregate.tables.results import ResultTables
from aggregate.tables.table import Step
from aggregate.tables.tuning import read_tuning, write_tuning
from pipeline.errors import ConfigError
from pipeline.run_log import Tell


def run_study(plan: Plan, *, console: Console) -> None:
    """Carry the plan of a study out, put its tables in place, and print the leaderboard.

    Fits are kept one by one, so that a study that was stopped continues where it was. Whatever fails, the results of an
    earlier one stay as they were.

    Raises:
        ConfigError: the configuration is not that of a study.
        ResultsError: the results would replace a file that no run wrote, or another command writes there.
    """
    config = plan.config
    study = study_of(config)
    check_files(config, written_by(Step.RUN, Step.STUDY, Step.REPORT))
    carry_out(
        plan,
        command="aggregate.py study",
        fit=lambda tell: _fitted(plan, study, tell),
        write=lambda fitted, folder: _write(*fitted, folder),
        summarise=lambda fitted: print_leaderboard(
            tables_of_run(config, fitted[0].study, config.results_folder), config.name, console
        ),
        console=console,
    )


def _fitted(plan: Plan, study: StudySection, tell: Tell) -> tuple[Run, Sequence[CurvePoint]]:
    if study.budget_minutes is not None:  # no configuration has fits of its own then
        return run_within_budget(plan, study, study.budget_minutes, tell), ()
    run = run_experiment(plan)
    return run, fit_learning_curves(run)


def study_of(config: AggregateConfig) -> StudySection:
    """Return the study of a configuration.

    Raises:
        ConfigError: it has none.
    """
    if config.aggregate.study is None:
        raise ConfigError(
            f"{config.name}: expected a table [aggregate.study], found models; `aggregate.py run` compares them"
        )
    return config.aggregate.study


def rebuild_study_tables(config: AggregateConfig, tables: ResultTables) -> None:
    """Write every table that follows from the predictions and configurations of a study anew.

    Raises:
        ResultsError: one of these tables is missing or does not fit.
    """
    study = study_of(config)
    if study.budget_minutes is None:
        _write_tables(_read_basis(config, tables), tables)
    else:
        with threadpool_limits(limits=1):
            rebuild_halving_tables(tables, config, study, read_predictions(tables))
        write_columns(tables)


def _read_basis(config: AggregateConfig, tables: ResultTables) -> StudyBasis:
    predictions = read_predictions(tables)
    return StudyBasis(
        predictions,
        read_tuning(tables, predictions.classes),
        read_configurations(tables),
        config.aggregate.statistics,
        study_of(config),
    )


def _write_tables(basis: StudyBasis, tables: ResultTables) -> None:
    # The products are small: a second thread costs more than it computes.
    with threadpool_limits(limits=1):
        for table in all_tables():
            if isinstance(table, StudyTable):
                tables.write(table, table.rows(basis), basis.patterns)
    write_columns(tables)


def _write(run: Run, points: Sequence[CurvePoint], folder: Path) -> None:
    config, tables = run.config, tables_of_run(run.config, run.study, folder)
    study, classes = study_of(config), run.predictions.classes
    write_record(run, folder, further_fits=keys_of(points))
    write_predictions(tables, run.predictions)
    write_tuning(tables, tuning_of(run.study, run.result), classes)
    facts = facts_of(run.study, published_columns(run.config.aggregate))
    tables.write(COHORT, cohort_rows(facts), cohort_names(facts))
    if study.budget_minutes is None:
        grid = grid_of(config)
        write_configurations(tables, described(grid, run.result.fits))
        basis = _read_basis(config, tables)
        write_asked_tables(run, points, basis, tables)
        _write_tables(basis, tables)
    else:
        write_halving(tables, run.result)
        rebuild_study_tables(config, tables)
    write_report(folder)
    write_paper(folder)
