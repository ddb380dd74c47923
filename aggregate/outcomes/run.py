"""What the commands do with a task other than classification: run, rebuild the tables, report."""

from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as PrintedTable
from rich.text import Text

from aggregate.carried_out import carry_out, check_files, facts_of
from aggregate.config import AggregateConfig
from aggregate.cross_validated_run import OutcomeRun, run_outcome_experiment, tables_of_run, write_record
from aggregate.outcomes.predictions import DRAWN
from aggregate.outcomes.tables.basis import METRICS_OF
from aggregate.outcomes.tables.performance import OUTCOME_PERFORMANCE
from aggregate.outcomes.tables.writing import write_outcome_tables
from aggregate.planning.configured_names import published_columns
from aggregate.planning.plan import Plan
from aggregate.printed_summary import OPEN_NEXT
from aggregate.report.page import write_report
from aggregate.tables.cohort import COHORT, cohort_names, cohort_rows
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.registry import written_by
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row, numeric
from aggregate.tables.table import Step
from aggregate.tables.training_curves import write_curves
from pipeline.bags import RANDOM_BANNER
from pipeline.run_log import say, say_table


def run_outcome(plan: Plan, *, console: Console) -> None:
    """Carry a plan out, put every table in place, and print the performance and where the tables lie.

    Raises:
        ResultsError: the results would replace a file that no run wrote, or another command writes there.
    """
    config = plan.config
    check_files(config, written_by(Step.RUN, Step.OUTCOME, Step.REPORT))
    carry_out(
        plan,
        command="aggregate.py run",
        fit=lambda _: run_outcome_experiment(plan),
        write=_write,
        summarise=lambda run: print_outcome_summary(
            tables_of_run(config, run.study, config.results_folder), config, console
        ),
        console=console,
    )


def _write(run: OutcomeRun, folder: Path) -> None:
    tables = tables_of_run(run.config, run.study, folder)
    section = run.config.aggregate
    facts = facts_of(run.study, published_columns(section))
    write_record(run, folder)
    write_curves(tables, run.result)
    tables.write(COHORT, cohort_rows(facts), cohort_names(facts))
    write_outcome_tables(tables, run.predictions, run.config.aggregate)
    write_report(folder)


def print_outcome_summary(tables: ResultTables, config: AggregateConfig, console: Console) -> None:
    """Print what models are compared by, with intervals, beside what the outcomes were drawn from, and what to open."""
    rows = tables.read(OUTCOME_PERFORMANCE)
    weights = rows[0]["weights"]
    if weights.startswith(RANDOM_BANNER):
        say(console, f"{weights}: the encoder is untrained; these figures say nothing about patients")
    title = f"{config.name}: out-of-fold performance [{tables.level} CI], weights {weights}"
    say_table(console, _table(rows, config, title))
    excluded = tables.read(EXCLUDED)
    if excluded:
        say(console, f"{len(excluded)} rows in {EXCLUDED.location} list what was left out, with the reason")
    if any(row["model"] == DRAWN for row in rows):
        say(
            console,
            f"{DRAWN}: what these synthetic outcomes were drawn from, which no model can beat but by chance",
        )
    say(console, f"Results: {tables.folder}")
    for name, what in {
        **OPEN_NEXT,
        OUTCOME_PERFORMANCE.location: "every number with its interval and n",
    }.items():
        if (tables.folder / name).exists():
            say(console, f"  {name}: {what}")


def _table(rows: list[Row], config: AggregateConfig, title: str) -> PrintedTable:
    compared = [name for name, metric in METRICS_OF[config.aggregate.task].items() if metric.is_compared]
    table = PrintedTable(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("model", "n", *compared):
        table.add_column(name, no_wrap=True)
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = {row["metric"]: row for row in rows if row["model"] == model}
        table.add_row(model, str(of_model[compared[0]]["n"]), *(_cell(of_model[name]) for name in compared))
    return table


def _cell(row: Row) -> str:
    value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
    if value is None:
        return str(row["estimate"])
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
