"""Run a command-line application; errors of the user or the machine end in one line and exit code 2."""

import gc
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from pipeline.error_lines import error_lines
from pipeline.provenance import software_versions
from pipeline.run_log import shown


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        told = ", ".join(f"{name} {number}" for name, number in software_versions().items())
        typer.echo(told)
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_tell_version,
        is_eager=True,
        help="Print the versions of phasemil, Python and the libraries, and stop.",
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Also print the details that run.log holds, such as every fit."),
]
ClassSpellings = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="SPELLING=NAME",
        help="A spelling of a class, such as CHC=HCC; may be repeated.",
    ),
]
_INTERRUPTED = 130


def listed(text: str | None) -> tuple[str, ...]:
    """Return the names of an option such as `--phases AP,PVP`; none where it was not given."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def run_application(application: typer.Typer) -> None:
    """Run a typer application; print errors of the user or the machine as one line and exit with code 2.

    Any other exception is a bug and keeps its traceback.
    """
    # What is imported by now lives to the end: the collector need not walk through it again and again.
    gc.freeze()
    try:
        application()
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns Ctrl-C into this code and says nothing.
        code = _INTERRUPTED if isinstance(end, KeyboardInterrupt) else end.code
        if code == _INTERRUPTED:
            Console(stderr=True).print("interrupted; run the same command again to go on")
        sys.exit(code)
    except Exception as error:
        lines = error_lines(error)
        if not lines:
            raise
        _leave(*lines)


def _leave(line: str, *mistakes: str) -> NoReturn:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"error: {shown(line)}", markup=False)
    for mistake in mistakes:
        console.print(f"  {shown(mistake)}", markup=False)
    sys.exit(2)
