"""The commands of stage 1."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from extract.exporters.commands import export
from extract.importers.commands import import_scans, layouts
from extract.phantom.commands import phantom
from pipeline.commands import ClassSpellings, VerboseOption, VersionOption, run_application
from pipeline.run_log import details_shown, logged, say

application = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="In this order: import (or a cohort table of one's own), init, check, run; then aggregate.py plan and run.",
)

ConfigArgument = Annotated[Path, typer.Argument(help="TOML configuration of the experiment.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(help="Values that replace those of the file, such as encoder=resnet50.")
]


@application.callback()
def stage(*, version: VersionOption = False) -> None:
    """Stage 1: embed the tumour-bearing slices of a cohort with a frozen encoder."""


application.command()(phantom)
application.command("import")(import_scans)
application.command()(layouts)
application.command()(export)


@application.command()
def init(
    table: Annotated[Path, typer.Argument(help="The cohort table, such as `import` writes it.")],
    out: Annotated[
        Path, typer.Option(metavar="CONFIG", help="The configuration to write, such as my_cohort.toml.")
    ],
    phase: Annotated[
        list[str] | None,
        typer.Option(metavar="SPELLING=NAME", help="A spelling of a phase, such as P=NC; may be repeated."),
    ] = None,
    class_: ClassSpellings = None,
) -> None:
    """Write a commented configuration of both stages for a cohort table: its phases, classes, centres and masks.

    Next: `extract.py check`.
    """
    from extract.first_config import write_first_config  # noqa: PLC0415
    from pipeline.spellings import read_spellings  # noqa: PLC0415

    write_first_config(table, out, read_spellings(phase or (), class_ or ()), Console(stderr=True))


@application.command()
def run(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Only this variant, by its name in the table extract.variant; may be repeated."),
    ] = None,
    *,
    verbose: VerboseOption = False,
) -> None:
    """Embed the cohort into bags; finished patients are skipped, unusable ones are listed in excluded.csv.

    Next: `aggregate.py plan`.
    """
    # Heavy imports wait until a command needs them, so that --help answers at once.
    from extract.printed_results import print_results  # noqa: PLC0415
    from extract.run import run_variants  # noqa: PLC0415
    from extract.variants import load_experiment  # noqa: PLC0415

    console = Console(stderr=True)
    experiment = load_experiment(config, overrides or ())
    with (
        details_shown(console if verbose else None),
        logged(experiment.config.output, "extract.py run", tell=partial(say, console)),
    ):
        results = run_variants(experiment, console, variant or ())
        print_results(experiment.config, results, console)
    if any(result.n_faults for result in results.values()):
        raise typer.Exit(2)


@application.command()
def check(config: ConfigArgument, overrides: OverridesArgument = None) -> None:
    """Read the whole cohort, embed nothing, and write cohort_check.csv; exit code 2 when a scan cannot be used.

    Next: `extract.py run`.
    """
    from extract.check import check_cohort, has_errors  # noqa: PLC0415
    from extract.variants import load_experiment  # noqa: PLC0415

    experiment = load_experiment(config, overrides or ())
    # Variants have their slices in common, so that one reading is the check of all.
    reports = check_cohort(experiment.config, Console(stderr=True), variants=experiment.variants)
    if has_errors(reports):
        raise typer.Exit(2)


@application.command()
def encoders(
    verify: Annotated[
        Path | None,
        typer.Option(
            help="Weight file: print its SHA-256 and the encoders that it fits. Card (.toml): embed its reference and compare."
        ),
    ] = None,
) -> None:
    """List the encoders, or verify a weight file or a card."""
    from extract.card_verification import verify_card  # noqa: PLC0415
    from extract.listing import print_encoders, verify_file  # noqa: PLC0415

    console = Console()
    if verify is None:
        print_encoders(console)
    elif verify.suffix == ".toml":
        verify_card(verify, console)
    else:
        verify_file(verify, console)


@application.command(name="inspect")
def inspect_bags(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER", help="A bag, a folder of bags, or the folder above those of variants."
        ),
    ],
) -> None:
    """Print what a bag holds, or each bag of a folder and their summary; exit code 2 if a file is not a bag."""
    from extract.inspection import print_bag, print_folders  # noqa: PLC0415

    console, errors = (
        Console(stderr=to, soft_wrap=True, highlight=False, markup=False) for to in (False, True)
    )
    if not path.is_dir():
        print_bag(path, console)
    elif not print_folders(path, console, errors):
        raise typer.Exit(2)


@application.command()
def doctor(
    folder: Annotated[Path, typer.Argument(help="Where bags are to be written.")] = Path(),
) -> None:
    """Check this machine, one line per check; exit code 1 if one fails."""
    from extract.doctor import checks  # noqa: PLC0415
    from pipeline.doctor import print_checks  # noqa: PLC0415

    if not print_checks(checks(folder.resolve()), Console(soft_wrap=True)):
        raise typer.Exit(1)


@application.command()
def overlay(
    config: ConfigArgument,
    patient: Annotated[list[str] | None, typer.Option(help="Only this patient; may be repeated.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model whose attention is shown; by default the first of the table.")
    ] = None,
) -> None:
    """Write the attention that stage 2 found as NIfTI overlays on the grid of the scans."""
    from extract.overlays import write_overlays  # noqa: PLC0415
    from extract.variants import load_experiment  # noqa: PLC0415

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    # Where a slice and its mask lie is the same for all variants.
    settings = load_experiment(config, ()).config
    written = write_overlays(settings, model=model, patients=patient or ())
    say(console, f"{len(written.paths)} overlays written: {settings.results_folder / 'overlays'}")
    for fault in written.faults:
        say(console, str(fault))
    if written.faults:
        raise typer.Exit(2)


@application.command()
def saliency(
    config: ConfigArgument,
    patient: Annotated[list[str] | None, typer.Option(help="Only this patient; may be repeated.")] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="The variant that the model reads, where there are several."),
    ] = None,
) -> None:
    """Draw occlusion maps of the encoder on the slices with most attention, for the report of stage 2."""
    from extract.saliency import draw_saliency  # noqa: PLC0415
    from extract.variants import load_experiment  # noqa: PLC0415

    settings = load_experiment(config, ()).the_one(variant).config
    paths = draw_saliency(settings, patient or ())
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"{len(paths)} pictures written: {settings.results_folder / 'figures'}; `aggregate.py report {settings.results_folder}` "
        "shows them"
    )


def main() -> None:
    """Run the command line of stage 1."""
    run_application(application)
