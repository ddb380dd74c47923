"""What the commands of stage 2 do: run, rebuild the tables, explain, report."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aggregate.cohort_facts import CohortFacts, describe_patient
from aggregate.config import AggregateConfig
from aggregate.crossval import tuning_of
from aggregate.experiment import Run, reopen, run_experiment, run_null, style_with_weights, table_style
from aggregate.explanations import check_explained_model, explain_run
from aggregate.finished import config_of_run, weights_of_run
from aggregate.null import write_null
from aggregate.report.page import write_report
from aggregate.resolve import with_names_resolved
from aggregate.summary import print_summary
from aggregate.tables.write import rebuild_tables, write_columns, write_tables
from pipeline.config import load_config


def load_aggregate_config(path: Path, overrides: Sequence[str]) -> AggregateConfig:
    """Read a configuration; overrides without a top-level table mean [aggregate], as in model.attention.hidden=64.

    Raises:
        ConfigError: the file or an override does not fit.
    """
    tables = set(AggregateConfig.model_fields)
    full = [o if o.partition(".")[0].partition("=")[0] in tables else f"aggregate.{o}" for o in overrides]
    return with_names_resolved(load_config(path, AggregateConfig, overrides=full), str(path))


def run_and_report(config: AggregateConfig, *, n_null: int, console: Console) -> None:
    """Run the experiment, write every table, and print the performance and where the tables lie."""
    check_explained_model(config.aggregate)
    run = run_experiment(
        config, tell=lambda line: console.print(line, soft_wrap=True, highlight=False, markup=False)
    )
    style = table_style(config, run.study.recipe)
    tuning = tuning_of(run.study, run.result)
    settings = config.aggregate.statistics
    facts = _facts(run)
    write_tables(config.output, run.predictions, facts, settings, style, tuning=tuning)
    if n_null:
        write_null(config.output, run.predictions, run_null(config, run.study, n_null), style)
        write_columns(config.output, run.study.classes, facts, style)
    if config.aggregate.explain:
        _explain(run, facts, console, retrain=config.aggregate.retrain_phases)
    write_report(config.output)
    print_summary(config.output, config.cohort.classes, console, style)


def tables_of(folder: Path, *, console: Console) -> None:
    """Write every table of a finished run again from its predictions, and the report, without training.

    Raises:
        ResultsError: the folder is not that of a finished run.
    """
    config = config_of_run(folder)
    style = style_with_weights(config, weights_of_run(folder))
    rebuild_tables(config.output, config.aggregate.statistics, style)
    write_report(config.output)
    print_summary(config.output, config.cohort.classes, console, style)


def explain_folder(folder: Path, *, retrain: bool, console: Console) -> None:
    """Explain a finished run from its out-of-fold models, and write the report anew.

    Raises:
        ResultsError: the folder is not that of a finished run.
    """
    run = reopen(config_of_run(folder))
    _explain(run, _facts(run), console, retrain=retrain)
    path = write_report(run.config.output)
    console.print(f"Report: {path}", soft_wrap=True, highlight=False)


def report_of(folder: Path, *, console: Console) -> None:
    """Write report.html of a finished run anew from its tables.

    Raises:
        ResultsError: the folder is not that of a finished run.
    """
    console.print(f"Report: {write_report(config_of_run(folder).output)}", soft_wrap=True, highlight=False)


def _explain(run: Run, facts: CohortFacts, console: Console, *, retrain: bool) -> None:
    style = table_style(run.config, run.study.recipe)
    for remark in explain_run(run, style, retrain=retrain):
        console.print(remark, soft_wrap=True, highlight=False)
    write_columns(run.config.output, run.study.classes, facts, style)


def _facts(run: Run) -> CohortFacts:
    """Describe every patient; each bag is read once."""
    study = run.study
    pairs = zip(study.bags, study.patients, strict=True)
    return CohortFacts(tuple(describe_patient(bag, patient) for bag, patient in pairs))
