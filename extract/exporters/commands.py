"""The command `extract.py export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.commands import ClassSpellings, listed
from pipeline.run_log import say


class TargetName(StrEnum):
    """Programs that bags are written for."""

    CLAM = "clam"
    STAMP = "stamp"
    TORCHMIL = "torchmil"
    TRIDENT = "trident"
    SLIDEFLOW = "slideflow"
    CSV = "csv"


def export(  # noqa: PLR0913 - the options of one command
    bags: Annotated[Path, typer.Argument(help="Folder of bags of one recipe.")],
    *,
    to: Annotated[TargetName, typer.Option(help="The program that is to read them; csv: tables.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to write; it must not exist.")],
    cohort: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Table of the labels; patient_id and label are enough. Without it no label is written.",
        ),
    ] = None,
    class_: ClassSpellings = None,
    per_phase: Annotated[
        bool, typer.Option("--per-phase", help="Make each phase of a patient a file of its own.")
    ] = False,
    phases: Annotated[
        str | None, typer.Option(metavar="PHASES", help="Only these phases, such as AP,PVP.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="BLOCKS", help="Only these blocks of the features, such as lesion,rim."),
    ] = None,
) -> None:
    """Write bags as folders that CLAM, STAMP, torchmil, TRIDENT or slideflow read, or as tables.

    Exit code 2 when a file of the folder is no bag; the others are exported.
    """
    # Heavy imports wait until a command needs them, so that --help answers at once.
    from extract.exporters.exporting import LEFT_OUT, export_bags  # noqa: PLC0415
    from extract.exporters.registry import TARGETS  # noqa: PLC0415
    from extract.exporters.selection import Wish  # noqa: PLC0415
    from pipeline.spellings import read_spellings  # noqa: PLC0415

    wish = Wish(
        phases=listed(phases),
        blocks=listed(features),
        is_per_phase=per_phase,
        cohort=cohort,
        spellings=read_spellings((), class_ or ()),
    )
    exported = export_bags(bags, TARGETS[to.value], out, wish)
    console = Console(stderr=True)
    for line in exported.lines:
        say(console, line)
    say(console, f"{out} written; README.txt in it repeats this, {LEFT_OUT} lists what was left out")
    if exported.n_faults:
        raise typer.Exit(2)
