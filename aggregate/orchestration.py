"""What the commands of stage 2 do: plan, run, rebuild the tables, explain, report."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from aggregate.carried_out import carry_out, check_files, facts_of, say_kept, say_limited
from aggregate.config import AggregateConfig
from aggregate.cross_validated_run import (
    Run,
    reopen,
    run_experiment,
    run_null,
    tables_of_run,
    write_record,
)
from aggregate.explained_run import explain_run
from aggregate.fitting.cross_validation import seconds_of_first_fits, tuning_of
from aggregate.outcomes.run import print_outcome_summary, run_outcome
from aggregate.outcomes.tables.predictions import PREDICTIONS_OF
from aggregate.outcomes.tables.writing import rebuild_outcome_tables
from aggregate.paper.writing import write_paper
from aggregate.planning.configured_names import published_columns
from aggregate.planning.plan import Plan, read_plan
from aggregate.planning.plan_printed import print_plan
from aggregate.printed_summary import print_summary
from aggregate.report.page import REPORT, write_report
from aggregate.run_folder.holding import holding
from aggregate.run_folder.placing import (
    check_may_write,
    gather_tables,
    put_in_place,
    was_changed,
    written_beside,
)
from aggregate.run_folder.run_record import (
    check_unchanged,
    config_of_run,
    require_record,
    results_in,
    weights_of_run,
)
from aggregate.run_folder.swap import is_cut_off
from aggregate.study.printed import print_leaderboard
from aggregate.study_run import rebuild_study_tables
from aggregate.tables.dictionary import write_columns
from aggregate.tables.fusion import write_fusion
from aggregate.tables.null import write_null
from aggregate.tables.predictions import PREDICTIONS
from aggregate.tables.registry import written_by
from aggregate.tables.results import ResultTables
from aggregate.tables.table import Step, Table
from aggregate.tables.training_curves import write_curves
from aggregate.tables.write import rebuild_tables, write_tables
from pipeline.errors import ConfigError, ResultsError
from pipeline.run_log import logged, say


def print_plan_of(path: Path, overrides: Sequence[str], *, time_fits: bool = False, console: Console) -> None:
    """Print what `run` would do; nothing is written. `time_fits` trains a fold of each model whose time is unknown.

    Raises:
        PhasemilError: something stands in the way; all that can be told is told at once.
    """
    plan = read_plan(path, overrides)
    check_files(plan.config, _tables_of_run(plan.config, n_null=0))
    if time_fits:
        plan = plan.with_seconds(seconds_of_first_fits(plan.study, plan.untimed()))
    print_plan(plan, console)


def run_and_report(plan: Plan, *, n_null: int, console: Console) -> None:
    """Carry a plan out, put every table in place, and print the performance and where the tables lie.

    Whatever fails, the results of an earlier run stay as they were, which the user is told.

    Raises:
        ResultsError: the results would replace a file that no run wrote, or another command writes there.
    """
    config = plan.config
    if config.aggregate.study is not None:
        raise ConfigError(
            f"{config.name}: [aggregate.study] is a grid of models; `aggregate.py study` runs it"
        )
    if config.aggregate.task != "classification":
        if n_null:
            config.require_classes("--null, a run on permuted labels,")
        run_outcome(plan, console=console)
        return
    check_files(config, _tables_of_run(config, n_null=n_null))
    carry_out(
        plan,
        command="aggregate.py run",
        fit=lambda _: run_experiment(plan),
        write=lambda run, folder: _write_everything(run, folder, n_null=n_null, console=console),
        summarise=lambda run: print_summary(
            tables_of_run(config, run.study, config.results_folder),
            config.name,
            config.cohort.classes,
            console,
        ),
        console=console,
    )


def _write_everything(run: Run, folder: Path, *, n_null: int, console: Console) -> None:
    config, tables = run.config, tables_of_run(run.config, run.study, folder)
    facts, tuning = (
        facts_of(run.study, published_columns(run.config.aggregate)),
        tuning_of(run.study, run.result),
    )
    write_record(run, folder)
    write_curves(tables, run.result)
    write_tables(tables, run.predictions, facts, config.aggregate.statistics, tuning=tuning)
    if config.aggregate.fusion is not None:
        write_fusion(tables, config.aggregate.fusion, config.aggregate.statistics)
        write_columns(tables)
    if n_null:
        write_null(tables, run.predictions, run_null(config, run.study, n_null))
        write_columns(tables)
    if config.aggregate.explain:
        _explain(run, folder, console, retrain=config.aggregate.retrain_phases)
    write_report(folder)
    write_paper(folder)


def _tables_of_run(config: AggregateConfig, *, n_null: int) -> list[Table]:
    steps = [Step.RUN, Step.REPORT]
    steps += [Step.EXPLANATIONS] if config.aggregate.explain else []
    steps += [Step.NULL] if n_null else []
    steps += [Step.FUSION] if config.aggregate.fusion is not None else []
    return written_by(*steps)


def tables_of(folder: Path, *, console: Console) -> None:
    """Write every table of a finished run again from its predictions, and the report, without training.

    Raises:
        ResultsError: the folder is not that of a finished run, or its bags or splits have changed since.
    """
    with finished_run(folder, "aggregate.py tables", console) as config:
        if config.aggregate.task != "classification":
            _outcome_tables_of(config, console)
            return
        if was_changed(config.results_folder, PREDICTIONS.location):
            say(
                console,
                f"{PREDICTIONS.location} was changed after the run; the tables are computed from the changed file",
            )
        folder = config.results_folder
        tables = ResultTables.of_settings(folder, config.aggregate, weights=weights_of_run(folder))
        with written_beside(config.results_folder, keep=True) as beside:
            if config.aggregate.study is None:
                rebuild_tables(tables.within(beside), config.aggregate.statistics)
                if config.aggregate.fusion is not None:
                    write_fusion(tables.within(beside), config.aggregate.fusion, config.aggregate.statistics)
            else:
                rebuild_study_tables(config, tables.within(beside))
            write_report(beside)
            write_paper(beside)
            kept = put_in_place(beside, config.results_folder)
        say_kept(config.results_folder, kept, console)
        if config.aggregate.study is None:
            print_summary(tables, config.name, config.cohort.classes, console)
        else:
            print_leaderboard(tables, config.name, console)


def _outcome_tables_of(config: AggregateConfig, console: Console) -> None:
    """Write every table of a finished run of another task again from its predictions, and the report."""
    folder, section = config.results_folder, config.aggregate
    location = PREDICTIONS_OF[section.task].location
    if was_changed(folder, location):
        say(console, f"{location} was changed after the run; the tables are computed from the changed file")
    tables = ResultTables.of_settings(folder, section, weights=weights_of_run(folder))
    with written_beside(folder, keep=True) as beside:
        rebuild_outcome_tables(tables.within(beside), section)
        write_report(beside)
        kept = put_in_place(beside, folder)
    say_kept(folder, kept, console)
    print_outcome_summary(tables, config, console)


def explain_folder(folder: Path, *, retrain: bool, console: Console) -> None:
    """Explain a finished run from its out-of-fold models, and write the report anew.

    Raises:
        ResultsError: the folder is not that of a finished run, or what it was made of has changed since.
    """
    with finished_run(folder, "aggregate.py explain", console) as config:
        config.require_classes("`aggregate.py explain`")
        if config.aggregate.study is not None:
            raise ResultsError(
                f"{folder}: the results of a study, whose models are not explained; put the model that you chose in a "
                "configuration of its own, and use `aggregate.py run`"
            )
        check_may_write(config.results_folder, written_by(Step.EXPLANATIONS, Step.REPORT))
        started = time.time()
        run = reopen(config)
        with written_beside(config.results_folder, keep=True) as beside:
            _explain(run, beside, console, retrain=retrain)
            write_report(beside)
            write_paper(beside)
            kept = put_in_place(beside, config.results_folder)
        say_limited(config, started, console)
        say_kept(config.results_folder, kept, console)
        say(console, f"Report: {config.results_folder / REPORT}")


def report_of(folder: Path, *, console: Console) -> None:
    """Write report.html of a finished run anew from its tables.

    Raises:
        ResultsError: the folder is not that of a finished run, or its bags or splits have changed since.
    """
    with finished_run(folder, "aggregate.py report", console) as config:
        with written_beside(config.results_folder, keep=True) as beside:
            write_report(beside)
            if config.aggregate.task == "classification":
                write_paper(beside)
            kept = put_in_place(beside, config.results_folder)
        say_kept(config.results_folder, kept, console)
        say(console, f"Report: {config.results_folder / REPORT}")


@contextmanager
def finished_run(folder: Path, command: str, console: Console) -> Iterator[AggregateConfig]:
    """Hold the folder of a finished run, completed where a command was cut off, and yield its configuration.

    What the command tells is logged there.

    Raises:
        ResultsError: the folder is not that of a finished run, or its bags or splits have changed since.
    """
    folder = results_in(folder)
    if not is_cut_off(folder):
        require_record(folder)
    tell = partial(say, console)
    with holding(folder, tell=tell), logged(folder, command, tell=tell):
        config = config_of_run(folder)
        gather_tables(folder)
        check_unchanged(config.results_folder, config.bag_sources)
        yield config


def _explain(run: Run, folder: Path, console: Console, *, retrain: bool) -> None:
    tables = tables_of_run(run.config, run.study, folder)
    for remark in explain_run(run, tables, retrain=retrain):
        say(console, remark)
    write_columns(tables)
