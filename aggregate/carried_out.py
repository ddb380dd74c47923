"""How `run` and `study` carry a plan out: checks of the files, the lock, results written beside and put in place, what is told."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from aggregate.cohort.patient_facts import CohortFacts, describe_patient
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateConfig
from aggregate.planning.plan import Plan
from aggregate.planning.plan_printed import fits_line, folds_line, patients_line, time_line
from aggregate.run_folder.cache_contents import limit_cache
from aggregate.run_folder.holding import holding, telling_what_stands
from aggregate.run_folder.placing import EARLIER, check_may_write, put_in_place, written_beside
from aggregate.run_folder.run_record import fits_of_run
from aggregate.tables.splits import SPLITS
from aggregate.tables.table import Table
from pipeline.run_log import Tell, detail, logged, say

Fitted = TypeVar("Fitted")


def carry_out(
    plan: Plan,
    *,
    command: str,
    fit: Callable[[Tell], Fitted],
    write: Callable[[Fitted, Path], None],
    summarise: Callable[[Fitted], None],
    console: Console,
) -> None:
    """Fit what is planned, write the results beside, put them in place and print their summary; all that is told is logged.

    Whatever fails, the results of an earlier command stay as they were, which the user is told.

    Args:
        plan: with what there is to tell beforehand.
        command: as the log names it.
        fit: does the work; it may tell of it line by line.
        write: writes the results of the work to a folder.
        summarise: prints what the results are.
        console: where to.

    Raises:
        ResultsError: another command writes there, or a file that no run wrote is in the way.
    """
    folder, started, tell = plan.config.results_folder, time.time(), partial(say, console)
    with holding(folder, tell=tell), logged(folder, command, tell=tell):
        for line in plan.remarks:
            tell(line)
        # Who is left out stands in excluded.csv: a log names no more patients than the console.
        for line in (patients_line(plan), folds_line(plan), fits_line(plan), time_line(plan)):
            detail(line)
        with telling_what_stands(folder, tell=tell):
            fitted = fit(tell)
            detail("fits are complete; the results are being written")
            with written_beside(folder, keep=False) as beside:
                write(fitted, beside)
                kept = put_in_place(beside, folder)
        say_limited(plan.config, started, console)
        say_kept(folder, kept, console)
        summarise(fitted)


def check_files(config: AggregateConfig, tables: Iterable[Table]) -> None:
    """Refuse, before any work, to write tables over files of others or over what the command reads.

    Raises:
        ResultsError: the file is named, and what to do.
    """
    splits = config.aggregate.splits.file
    own = config.results_folder / SPLITS.location
    inputs = [config.cohort.table, *([splits] if splits is not None and splits != own else [])]
    check_may_write(config.results_folder, tables, inputs)


def facts_of(study: StudyCohort, published: Collection[str]) -> CohortFacts:
    """Describe every patient by the first bag there is, those kept aside, too; each bag is read once.

    Args:
        study: the patients.
        published: the columns of the cohort table that may stand in results.
    """
    phases = study.phase_names
    described = (describe_patient(patients.first_bag(i), row, phases) for patients, i, row in study.everybody)
    return CohortFacts(tuple(facts.with_covariates(published) for facts in described))


def say_limited(config: AggregateConfig, since: float, console: Console) -> None:
    """Bring the cache below its limit, and say what was removed."""
    for line in limit_cache(config, fits_of_run(config.results_folder), since=since):
        say(console, line)


def say_kept(folder: Path, kept: Sequence[str], console: Console) -> None:
    """Say which files were moved aside because somebody has changed them."""
    if kept:
        say(
            console,
            f"{len(kept)} files, such as {kept[0]}, were not as a run is known to have written them, and are kept in "
            f"{folder / EARLIER}",
        )
