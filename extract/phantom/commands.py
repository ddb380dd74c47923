"""The command `extract.py phantom`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from extract.phantom.cohort import TRUTH, write_cohort
from extract.phantom.config import PhantomSection
from extract.phantom.histology import write_histology
from extract.phantom.montage import write_montage
from pipeline.ceiling import write_ceiling
from pipeline.cohort import read_cohort
from pipeline.config import ExperimentConfig, load_config, with_table


class PhantomConfig(ExperimentConfig):
    """A configuration whose table [phantom] is read."""

    phantom: PhantomSection = PhantomSection()


def phantom(
    config: Annotated[Path, typer.Argument(help="TOML configuration with a table phantom.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values that replace those of the file, such as seed=1.")
    ] = None,
    *,
    preview: Annotated[
        bool, typer.Option("--preview", help="Also write a PNG montage: patients x phases.")
    ] = False,
) -> None:
    """Write the synthetic cohort that a configuration describes, unless it exists already."""
    console = Console(soft_wrap=True)
    experiment = load_config(
        config, PhantomConfig, overrides=with_table(overrides or (), PhantomConfig, "phantom")
    )
    table = experiment.cohort.table
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("phantom patients", total=None)
        written = write_cohort(
            experiment.phantom,
            table,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    cohort = read_cohort(experiment.cohort)
    scans = sum(len(patient.scans) for patient in cohort.patients)
    verb = "wrote" if written else "exists already, unchanged:"
    console.print(f"{verb} {table}: {len(cohort.patients)} patients, {scans} scans", highlight=False)
    _note_ceiling(experiment, console)
    if experiment.phantom.histology is not None:
        slides = write_histology(experiment.phantom.histology, table, seed=experiment.phantom.entropy)
        console.print(f"synthetic histology: {slides}", highlight=False)
    if preview:
        picture = table.with_name("preview.png")
        write_montage(picture, cohort, experiment.cohort.phases)
        console.print(f"wrote {picture}", highlight=False)


def _note_ceiling(experiment: PhantomConfig, console: Console) -> None:
    """Write beside the cohort what can be found in it, and say so; nothing where a class has no patient."""
    # scikit-learn waits until the command needs it, so that --help answers at once.
    from extract.phantom.ceiling import ceiling_of_signs, prior_of, read_truth  # noqa: PLC0415

    table, section = experiment.cohort.table, experiment.phantom
    truth = table.with_name(TRUTH)
    if not truth.exists() or not all(section.patients.values()):
        return
    ceiling = ceiling_of_signs(read_truth(truth), prior_of(section))
    write_ceiling(table, ceiling)
    told = f"an observer who {ceiling.observer} reaches a macro AUC of {ceiling.auc['macro']:.2f} on it"
    console.print(told, highlight=False)
