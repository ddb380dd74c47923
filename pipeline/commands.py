"""Run a command-line application so that a user's mistake is one line and exit code 2, never a stack trace."""

import gc
import sys

import typer
from rich.console import Console

from pipeline.errors import PhasemilError

_INTERRUPTED = 130


def run_application(application: typer.Typer) -> None:
    """Run a typer application; print a PhasemilError as one line to standard error and leave with 2."""
    # What is imported by now lives to the end: the collector need not walk through it again and again.
    gc.freeze()
    try:
        application()
    except PhasemilError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns Ctrl-C into this code and says nothing.
        code = _INTERRUPTED if isinstance(end, KeyboardInterrupt) else end.code
        if code == _INTERRUPTED:
            Console(stderr=True).print("interrupted; run the same command again to go on")
        sys.exit(code)
