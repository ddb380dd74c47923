"""The commands `extract.py import` and `extract.py layouts`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.commands import ClassSpellings, listed
from pipeline.errors import CohortError
from pipeline.run_log import say

_SPELLING = "may be repeated"


def import_scans(  # noqa: PLR0913 - the options of one command
    layout: Annotated[str, typer.Argument(help="How the files lie; `extract.py layouts` lists the layouts.")],
    folder: Annotated[Path, typer.Argument(help="The folder with the scans.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings of the layout, such as mask_phase=PVP.")
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="TABLE", help="The cohort table to write; import_report.csv goes beside it."),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Table of labels (.csv or .xlsx), one row per patient."),
    ] = None,
    labels_id: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Its column of the patients.")
    ] = None,
    labels_class: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Its column of the classes.")
    ] = None,
    covariates: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS", help="Further columns to take, such as age,sex; `centre` becomes the centre."
        ),
    ] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPELLING=NAME", help=f"A spelling of a phase, such as portale=PVP; {_SPELLING}."
        ),
    ] = None,
    class_: ClassSpellings = None,
    patient: Annotated[
        list[str] | None,
        typer.Option(metavar="SPELLING=NAME", help=f"A spelling of a patient, such as p05=P05; {_SPELLING}."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help=f"Files to leave out, such as 'P03/*old*'; {_SPELLING}."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a cohort table that is there.")
    ] = False,
) -> None:
    """Write a cohort table of the scans in a folder, and import_report.csv with what was decided and guessed.

    Next: `extract.py init`.
    """
    # Heavy imports wait until a command needs them, so that --help answers at once.
    from extract.importers.importing import ImportOptions, import_folder  # noqa: PLC0415
    from extract.importers.label_table import LabelTable  # noqa: PLC0415
    from extract.importers.printed import print_import  # noqa: PLC0415
    from extract.importers.registry import layout_named  # noqa: PLC0415
    from extract.importers.written import refuse_to_overwrite, write_import  # noqa: PLC0415
    from pipeline.spellings import read_spellings  # noqa: PLC0415

    refuse_to_overwrite(out, overwrite=overwrite)
    named = listed(covariates)
    if labels and not labels_id:
        raise CohortError("--labels: expected also --labels-id, its column of the patients")
    if not labels and (labels_id or labels_class):
        raise CohortError("--labels-id, --labels-class: expected also --labels, the table with these columns")
    console = Console(stderr=True)
    options = ImportOptions(
        out,
        tuple(settings or ()),
        read_spellings(phase or (), class_ or (), patient or ()),
        LabelTable(labels, labels_id or "", labels_class, named) if labels else None,
        named,
        tuple(skip or ()),
        partial(say, console),
    )
    found = import_folder(layout_named(layout), folder, options)
    print_import(found, out, write_import(found, out, folder), console)


def layouts() -> None:
    """List the layouts that `import` knows, with their settings."""
    from extract.importers.layout import LayoutSettings  # noqa: PLC0415
    from extract.importers.registry import LAYOUTS  # noqa: PLC0415
    from pipeline.docstrings import field_meanings  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False, markup=False)
    for layout in LAYOUTS.values():
        console.print(f"{layout.name}: {layout.about}")
        for name, text in field_meanings(layout.settings, LayoutSettings).items():
            console.print(f"  {name}: {text}")
