"""Run a command-line application so that a user's mistake is one line and exit code 2, never a stack trace."""

import sys

import typer
from rich.console import Console

from pipeline.errors import PhasemilError


def run_application(application: typer.Typer) -> None:
    """Run a typer application; print a PhasemilError as one line to standard error and leave with 2."""
    try:
        application()
    except PhasemilError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; run the same command again to go on")
        sys.exit(130)
