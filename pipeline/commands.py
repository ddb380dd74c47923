"""Run a command-line application; errors of the user or the machine end in one line and exit code 2."""

import errno
import gc
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from pipeline.errors import PhasemilError, SeveralMistakesError
from pipeline.provenance import software_versions


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
_NO_ROOM = "free some space there or name another folder as `output`, then run the same command again"
_NO_RIGHTS = "ask for permission to read or write it, or name another place in the configuration"
_ADVICE: Mapping[int, str] = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EROFS: "name a folder that you may write to as `output`",
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.ENOENT: "correct the path, or put the file there",
    errno.EEXIST: "a file is in the place of a folder: move it away, or name another folder",
    errno.ENOTDIR: "a file is in the place of a folder: correct the path, or name another folder",
    errno.EISDIR: "a folder is in the place of a file: correct the path, or move it away",
    errno.ENOTEMPTY: "something else was written there meanwhile: run the same command again",
    errno.ENAMETOOLONG: "shorten the name",
    errno.EIO: "the disk or the network drive failed: check it, then run the same command again",
    errno.ESTALE: "the network drive was disconnected: connect it again, then run the same command again",
    errno.EMFILE: "too many files are open: lower `workers` or `jobs`, or raise `ulimit -n`",
    errno.ENOMEM: "lower `workers` or `jobs`, or take a machine with more memory",
}
"""What to do about a fault that the system reports."""
_INTERRUPTED = 130


def run_application(application: typer.Typer) -> None:
    """Run a typer application; print errors of the user or the machine as one line and exit with code 2.

    These are PhasemilError, files and folders that the system refuses, and a full disk or memory. Any other exception
    is a bug and keeps its traceback.
    """
    # What is imported by now lives to the end: the collector need not walk through it again and again.
    gc.freeze()
    try:
        application()
    except SeveralMistakesError as error:
        _leave(
            f"{len(error.problems)} mistakes, one per line; correct them and run the same command again",
            error.problems,
        )
    except PhasemilError as error:
        _leave(str(error))
    except OSError as error:
        if error.filename is None and error.errno not in _ADVICE:
            raise
        _leave(describe_fault(error))
    except MemoryError as error:
        _leave(f"not enough memory: {error or 'allocation failed'}; {_ADVICE[errno.ENOMEM]}")
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns Ctrl-C into this code and says nothing.
        code = _INTERRUPTED if isinstance(end, KeyboardInterrupt) else end.code
        if code == _INTERRUPTED:
            Console(stderr=True).print("interrupted; run the same command again to go on")
        sys.exit(code)


def describe_fault(error: OSError) -> str:
    """Describe a system error in one line: what failed, for which file, and what to do."""
    where = "" if error.filename is None else f"{error.filename}: "
    advice = _ADVICE.get(error.errno or 0)
    return f"{where}{error.strerror or error}" + (f"; {advice}" if advice else "")


def _leave(message: str, problems: Sequence[str] = ()) -> None:
    line = "; ".join(part.strip() for part in message.splitlines() if part.strip())
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"error: {line}", markup=False)
    for problem in problems:
        console.print(f"  {' '.join(problem.split())}", markup=False)
    sys.exit(2)
