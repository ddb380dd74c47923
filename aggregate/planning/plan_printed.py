"""A plan as `aggregate.py plan` prints it."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from joblib import effective_n_jobs
from rich.console import Console
from rich.table import Table

from aggregate.cohort.study_cohort import UNSEEN
from aggregate.planning.plan import Plan
from pipeline.pace import duration
from pipeline.run_log import say


def print_plan(plan: Plan, console: Console) -> None:
    """Print who is classified, on which folds, by which models, and how long that may take."""
    for line in (*plan.remarks, patients_line(plan), *_left_out_lines(plan), folds_line(plan)):
        say(console, line)
    table = Table("model", "kind", "fits", "in the cache", "seconds a fit")
    for spec in plan.specs:
        n_fits, seconds = len(plan.tasks[spec.name]), plan.seconds.get(spec.name)
        told = "unknown" if seconds is None else f"{seconds:.2f}"
        table.add_row(spec.name, spec.kind, str(n_fits), str(n_fits - plan.n_open(spec.name)), told)
    console.print(table)
    for line in (fits_line(plan), time_line(plan), "Nothing was written."):
        say(console, line)


def time_line(plan: Plan) -> str:
    """Return how long the fits that are not in the cache will take, or of which models that is unknown."""
    to_fit = [spec.name for spec in plan.specs if plan.n_open(spec.name)]
    if not to_fit:
        return "Time for the fits: none"
    unknown = [name for name in to_fit if name not in plan.seconds]
    known_s = sum(plan.n_open(name) * plan.seconds[name] for name in to_fit if name in plan.seconds)
    if len(unknown) == len(to_fit):
        return (
            "Time for the fits: unknown, because no earlier run in this folder recorded it; `aggregate.py plan --time` trains "
            "one fold of each model to tell"
        )
    n_jobs = effective_n_jobs(plan.config.aggregate.jobs)
    beside = f"; unknown for {', '.join(unknown)}" if unknown else ""
    return (
        f"Time for the fits: about {duration(known_s / n_jobs)} on {_counted(n_jobs, 'process', 'processes')}{beside} "
        f"({_source_of_seconds(plan, to_fit)})"
    )


def _source_of_seconds(plan: Plan, to_fit: Sequence[str]) -> str:
    measured = [name for name in to_fit if name in plan.timed_now]
    recorded = [name for name in to_fit if name in plan.seconds and name not in plan.timed_now]
    told = [f"from one fold trained now of {_counted(len(measured), 'model', 'models')}"] if measured else []
    if recorded:
        run = f"run in {plan.config.results_folder} recorded, with {plan.seconds_of_patients} patients"
        told.append(f"from the seconds that the {run}")
    return "; ".join(told)


def patients_line(plan: Plan) -> str:
    """Return how many patients are classified, by class."""
    patients = plan.study.patients
    counts = np.bincount(patients.codes, minlength=len(patients.classes))
    classes = ", ".join(f"{name} {n}" for name, n in zip(patients.classes, counts, strict=True))
    return f"{plan.study.name}: {len(patients)} patients ({classes})"


def folds_line(plan: Plan) -> str:
    """Return the number and the size of the folds."""
    repeats = len({fold.repeat for fold in plan.folds})
    tested = [len(fold.test) for fold in plan.folds]
    size = str(min(tested)) if min(tested) == max(tested) else f"{min(tested)} to {max(tested)}"
    return (
        f"{len(plan.folds)} folds in {_counted(repeats, 'repeat', 'repeats')}, {size} patients tested in each"
    )


def _left_out_lines(plan: Plan) -> Iterator[str]:
    study = plan.study
    unseen = Counter(e.stage for e in study.exclusions if e.stage.startswith(UNSEEN))
    for stage, count in unseen.items():
        first = next(e for e in study.exclusions if e.stage == stage)
        yield f"{stage}: sees nothing of {count} patients, such as {first.patient_id}: {first.reason}"
    for exclusion in (e for e in study.exclusions if e.stage not in unseen):
        phase = f", phase {exclusion.phase}" if exclusion.phase else ""
        yield f"left out: {exclusion.patient_id}{phase}: {exclusion.reason}"


def fits_line(plan: Plan) -> str:
    """Return how many fits there are, and how many of them are to be trained."""
    n_fits = sum(len(tasks) for tasks in plan.tasks.values())
    n_open = sum(plan.n_open(name) for name in plan.tasks)
    return f"{n_fits} fits: {n_fits - n_open} in the cache, {n_open} to be trained"


def _counted(n: int, one: str, several: str) -> str:
    return f"{n} {one if n == 1 else several}"
