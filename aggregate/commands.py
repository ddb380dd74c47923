"""The commands of stage 2."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.commands import ClassSpellings, VerboseOption, VersionOption, run_application
from pipeline.errors import ConfigError
from pipeline.run_log import details_shown

RetrainOption = Annotated[
    bool, typer.Option("--retrain", help="Also retrain on every subset of the phases (slow).")
]
_TABLE_WIDTH = 108

application = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="In this order: plan, run; then report, explain, compare; freeze, predict, verify. `init` writes a configuration for bags without one.",
)

ConfigArgument = Annotated[Path, typer.Argument(help="TOML configuration of the experiment.")]
ResultsArgument = Annotated[Path, typer.Argument(help="Folder that an earlier run wrote.")]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Values that replace the file's, such as model.attention.hidden=64."),
]
TimeOption = Annotated[
    bool, typer.Option("--time", help="Train one fold of each model whose time is not known, to estimate it.")
]
UnusedOption = Annotated[
    bool, typer.Option("--remove-unused", help="Remove all entries that the run in that folder does not use.")
]
AllOption = Annotated[
    bool, typer.Option("--remove-all", help="Remove all entries; the next run trains every model again.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        metavar="MINUTES",
        help="Search the grid by successive halving in each fold, for about so many minutes.",
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Fit on a Dask cluster, such as tcp://host:8786; its workers read and write the folders of this machine.",
    ),
]
NullOption = Annotated[int, typer.Option(min=0, help="Number of repetitions of the run on permuted labels.")]


class RefitWay(StrEnum):
    """Which fitted models a package holds."""

    FOLDS = "folds"
    ALL = "all"


class BagFormat(StrEnum):
    """Programs whose files of features are read as bags."""

    CLAM = "clam"
    TRIDENT = "trident"
    STAMP = "stamp"


@application.callback()
def stage(*, version: VersionOption = False) -> None:
    """Stage 2: classify patients from their bags and write the result tables."""


@application.command()
def init(
    bags: Annotated[Path, typer.Argument(help="Folder of bags of one recipe.")],
    table: Annotated[
        Path, typer.Argument(help="The cohort table with the labels; patient_id and label are enough.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="CONFIG", help="The configuration to write, such as my_bags.toml.")
    ],
    format_: Annotated[
        BagFormat | None,
        typer.Option("--format", help="What wrote the files, if they are not bags of this package."),
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="With --format: table of the files of each patient."),
    ] = None,
) -> None:
    """Write a commented configuration for bags that lie there; for scans, `extract.py init` writes that of both stages.

    Next: `aggregate.py plan`.
    """
    # Heavy imports wait until a command needs them, so that --help answers at once.
    from aggregate.cohort.matching import BagSource  # noqa: PLC0415
    from aggregate.first_config import write_first_config  # noqa: PLC0415

    if slides is not None and format_ is None:
        raise ConfigError("--slides: expected also --format, what wrote the files")
    source = BagSource(bags, format_.value if format_ else None, slides)
    write_first_config(source, table, out, _wide_console())


@application.command()
def plan(config: ConfigArgument, overrides: OverridesArgument = None, *, time: TimeOption = False) -> None:
    """Show what `run` would do, how many fits are in the cache and the expected time; write nothing.

    Next: `aggregate.py run`.
    """
    from aggregate.orchestration import print_plan_of  # noqa: PLC0415

    print_plan_of(config, overrides or (), time_fits=time, console=_wide_console())


@application.command()
def run(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    null: NullOption = 0,
    dask: DaskOption = None,
    *,
    verbose: VerboseOption = False,
) -> None:
    """Cross-validate every model and baseline, and write all tables."""
    from aggregate.cluster import fits_on  # noqa: PLC0415
    from aggregate.orchestration import run_and_report  # noqa: PLC0415
    from aggregate.planning.plan import read_plan  # noqa: PLC0415

    console = _wide_console()
    with details_shown(console if verbose else None), fits_on(dask):
        run_and_report(read_plan(config, overrides or ()), n_null=null, console=console)


@application.command()
def study(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    budget: BudgetOption = None,
    dask: DaskOption = None,
    *,
    verbose: VerboseOption = False,
) -> None:
    """Cross-validate the grid of the table aggregate.study, rank it, and say which choice matters."""
    from aggregate.cluster import fits_on  # noqa: PLC0415
    from aggregate.planning.plan import read_plan  # noqa: PLC0415
    from aggregate.study_run import run_study  # noqa: PLC0415

    given = [*(overrides or ()), *([] if budget is None else [f"study.budget_minutes={budget}"])]
    console = _wide_console()
    with details_shown(console if verbose else None), fits_on(dask):
        run_study(read_plan(config, given), console=console)


@application.command()
def tables(results: ResultsArgument) -> None:
    """Rebuild every table and the report from predictions.csv, without training."""
    from aggregate.orchestration import tables_of  # noqa: PLC0415

    tables_of(results, console=_wide_console())


@application.command()
def explain(
    results: ResultsArgument, *, retrain: RetrainOption = False, verbose: VerboseOption = False
) -> None:
    """Explain the models of a finished run: attention, phases, slice votes, concepts, prototypes."""
    from aggregate.orchestration import explain_folder  # noqa: PLC0415

    console = _wide_console()
    with details_shown(console if verbose else None):
        explain_folder(results, retrain=retrain, console=console)


@application.command()
def report(results: ResultsArgument) -> None:
    """Write report.html again from the tables of a finished run."""
    from aggregate.orchestration import report_of  # noqa: PLC0415

    report_of(results, console=_wide_console())


@application.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder that a run or study wrote.")],
    run_b: Annotated[Path, typer.Argument(help="Folder that another one wrote.")],
    model_a: Annotated[
        str | None,
        typer.Option(help="Model of the first run; by default the one declared as primary, or the best."),
    ] = None,
    model_b: Annotated[str | None, typer.Option(help="Model of the second run; likewise.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write run_comparisons.csv there.")
    ] = None,
) -> None:
    """Compare two models of two results folders on the patients of both, and say what the configurations differ in."""
    from aggregate.compared_runs import compare_runs  # noqa: PLC0415

    compare_runs((run_a, run_b), (model_a, model_b), output=output, console=_wide_console())


@application.command()
def cache(
    results: ResultsArgument, *, remove_unused: UnusedOption = False, remove_all: AllOption = False
) -> None:
    """List the cache of a results folder, and remove entries if asked; tables and report stay."""
    from aggregate.run_folder.cache_contents import Remove, show_cache  # noqa: PLC0415

    remove = Remove.ALL if remove_all else Remove.UNUSED if remove_unused else Remove.NOTHING
    show_cache(results, remove, console=_wide_console())


@application.command()
def freeze(
    results: ResultsArgument,
    model: Annotated[str, typer.Option(metavar="NAME", help="Model of that run, by its name in the tables.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The package to write, a folder.")],
    refit: Annotated[
        RefitWay,
        typer.Option(
            help="folds: average the models of the cross-validation; all: fit one model on all patients."
        ),
    ] = RefitWay.FOLDS,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a package that stands there.")
    ] = False,
    with_code: Annotated[
        bool,
        typer.Option("--with-code", help="Put the Python file of a network of your own into the package."),
    ] = False,
    keep_rare_words: Annotated[
        bool,
        typer.Option(
            "--keep-rare-words",
            help="Let words of covariates that fewer than 5 patients have leave with the model.",
        ),
    ] = False,
) -> None:
    """Freeze a model of a finished run as a package: a folder without patients, to be used at another hospital."""
    from aggregate.package.freezing import FreezeChoices, freeze_model  # noqa: PLC0415

    choices = FreezeChoices(model, refit.value, overwrite, with_code, keep_rare_words)
    freeze_model(results, out, choices, console=_wide_console())


@application.command()
def predict(  # noqa: PLR0913 - options of a command
    package: Annotated[Path, typer.Argument(help="Folder that `freeze` wrote.")],
    bags: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folder of bags made with the settings of the package; NAME=FOLDER where the model reads several."
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for predictions.csv and excluded.csv.")],
    cohort: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Cohort table with the columns that the model reads; with labels, their tables follow.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Also write prediction sets of this coverage, such as 0.9, and where the model abstains.",
        ),
    ] = None,
    recalibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Patients of the cohort table (column patient_id) whose labels a recalibration may see; its effect is measured on the others.",
        ),
    ] = None,
    class_: ClassSpellings = None,
    slides: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TABLE",
            help="Table of the slides of each patient, for histology features of other programs.",
        ),
    ] = None,
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code", help="Load a network whose Python file is in the package, which runs that file."
        ),
    ] = False,
) -> None:
    """Predict patients with a package; with their labels, measure it and its drop against the internal estimate."""
    from aggregate.package.predicting import PredictChoices, predict_with  # noqa: PLC0415
    from pipeline.spellings import spelling_pairs  # noqa: PLC0415

    aliases = spelling_pairs("class", class_ or ())
    choices = PredictChoices(bags or (), cohort, coverage, slides or (), aliases, run_code, recalibrate)
    predict_with(package, out, choices, console=_wide_console())


@application.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="Results folder, or package.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the links as JSON.")] = False,
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images", help="Of results: read the files of the scans, which may take long."
        ),
    ] = True,
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A file of weights, if it lies in no usual place."),
    ] = None,
    sha256: Annotated[
        str, typer.Option(metavar="HEX", help="Of a package: the SHA-256 that `freeze` printed.")
    ] = "",
    results: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of a package: the run that it was frozen from.")
    ] = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Of a package: also load a network whose Python file is in it.")
    ] = False,
) -> None:
    """Recompute the chain behind results or a package and say what still matches; exit code 1 if anything differs."""
    from aggregate.package.verifying import VerifyChoices  # noqa: PLC0415
    from aggregate.package.verifying import verify as verify_folder  # noqa: PLC0415

    choices = VerifyChoices(weights or (), images, sha256, results, run_code)
    if not verify_folder(folder, choices, as_json=as_json, console=_wide_console()):
        raise typer.Exit(1)


@application.command()
def models() -> None:
    """List every model kind with its parameters, their defaults and meaning, and its paper."""
    from aggregate.models.described import described_kinds, lines_of  # noqa: PLC0415

    console = _wide_console()
    for kind in described_kinds():
        for line in lines_of(kind):
            console.print(line, soft_wrap=True, highlight=False)


@application.command()
def doctor(
    folder: Annotated[Path, typer.Argument(help="Folder for the results.")] = Path(),
) -> None:
    """Check this machine, one line per check; exit code 1 if a check fails."""
    from aggregate.doctor import checks  # noqa: PLC0415
    from pipeline.doctor import print_checks  # noqa: PLC0415

    if not print_checks(checks(folder.resolve()), _wide_console()):
        raise typer.Exit(1)


def _wide_console() -> Console:
    """Return a console on which the performance table is not cut, also where output goes to a file.

    Names of users may hold brackets and colons, which are printed as they stand.
    """
    return Console(width=max(Console().width, _TABLE_WIDTH), markup=False, emoji=False)


def main() -> None:
    """Run the command line of stage 2."""
    run_application(application)
