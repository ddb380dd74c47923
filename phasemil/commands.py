"""The command `phasemil`: one patient, a package, probabilities and a page."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.commands import VersionOption, run_application
from pipeline.errors import ConfigError

application = typer.Typer(pretty_exceptions_enable=False)
_REPEATED = "may be repeated"


@application.command()
def phasemil(  # noqa: PLR0913 - the options of one command
    package: Annotated[Path, typer.Argument(help="Folder that `aggregate.py freeze` wrote.")],
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with all scans of the patient, NIfTI with the phases in their names or DICOM; or name each with --scan."
        ),
    ] = None,
    *,
    scan: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHASE=FILE",
            help=f"A scan, such as AP=ap.nii.gz, or the folder of one DICOM series; {_REPEATED}.",
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHASE=FILE", help=f"Mask of the tumour; several of a phase are its lesions; {_REPEATED}."
        ),
    ] = None,
    organ_mask: Annotated[
        list[str] | None,
        typer.Option(metavar="PHASE=FILE", help=f"Mask of the organ, such as the liver; {_REPEATED}."),
    ] = None,
    mask_label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHASE=VALUES",
            help=f"Values of the mask that are the tumour, such as PVP=2; {_REPEATED}.",
        ),
    ] = None,
    z_range: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FROM:TO",
            help=f"Slices in mm, or PHASE=FROM:TO, where the package takes slices by height; {_REPEATED}.",
        ),
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help=f"A column that the model reads, such as age=61; age= where it is not known; {_REPEATED}.",
        ),
    ] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPELLING=NAME",
            help=f"A spelling of a phase in the folder, such as portale=PVP; {_REPEATED}.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help=f"Of the layout that reads the folder, such as mask_phase=PVP, or tumour=NAME of a DICOM-SEG; {_REPEATED}.",
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help=f"Files of the folder to leave out; {_REPEATED}."),
    ] = None,
    patient_id: Annotated[
        str, typer.Option(metavar="NAME", help="How the page calls the patient.")
    ] = "patient",
    coverage: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Of the prediction set; the model abstains where it is not one class."
        ),
    ] = 0.9,
    out: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="The page to write, such as report.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
    file_names: Annotated[
        bool, typer.Option("--file-names", help="Put the names of the image files on the page.")
    ] = False,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="The weights of the encoder, or VARIANT=FILE, where they lie in no usual place.",
        ),
    ] = None,
    card: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="The card of the encoder beside its weights, or VARIANT=FILE."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="What runs the encoder, such as cpu; by default a GPU if there is one.")
    ] = "auto",
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code", help="Load a network whose Python file is in the package, which runs that file."
        ),
    ] = False,
    version: VersionOption = False,
) -> None:
    """Ask a package about one patient: probabilities, a decision or an abstention, and a page. For research use only."""
    del version
    # Heavy imports wait until a command needs them, so that --help answers at once.
    from phasemil.given_scans import GivenScans, spellings_of  # noqa: PLC0415
    from phasemil.in_words import printed, record  # noqa: PLC0415
    from phasemil.one_patient import Question, ask  # noqa: PLC0415
    from phasemil.stage_1_of_package import MachineChoices  # noqa: PLC0415

    _check_place(out, overwrite=overwrite)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    question = Question(
        scans=GivenScans(
            folder,
            tuple(scan or ()),
            tuple(mask or ()),
            tuple(organ_mask or ()),
            tuple(mask_label or ()),
            tuple(phase or ()),
            tuple(setting or ()),
            tuple(skip or ()),
        ),
        covariates=spellings_of(covariate or (), "--covariate", "age=61"),
        patient_id=patient_id,
        coverage=coverage,
        machine=MachineChoices(weights or (), card or (), device, z_range or ()),
        run_code=run_code,
    )
    one = ask(package, question, console=console)
    if out is not None:
        # Draws, which takes a second.
        from phasemil.page import write_page  # noqa: PLC0415

        write_page(one, out, file_names=file_names)
    if as_json:
        typer.echo(json.dumps(record(one), indent=1, ensure_ascii=False))
        return
    for line in printed(one):
        typer.echo(line)
    if out is not None:
        typer.echo(f"Page: {out}")


def _check_place(out: Path | None, *, overwrite: bool) -> None:
    """Refuse a page that cannot be written, before any work.

    Raises:
        ConfigError: what was expected.
    """
    if out is None:
        return
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: expected a file that ends in .html; a browser prints it as PDF")
    if out.exists() and not overwrite:
        raise ConfigError(f"--out {out}: exists already; give another, or --overwrite")
    if not out.resolve().parent.is_dir():
        raise ConfigError(f"--out {out}: expected a folder {out.resolve().parent}, found none")


def main() -> None:
    """Run the command line for one patient."""
    run_application(application)
