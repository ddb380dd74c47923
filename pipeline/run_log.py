"""run.log: what a command says, line by line with the time, in the folder that it writes to; and details beside it.

The lines are appended as they are said, so that a command that fails or is killed leaves what it said until then: the log
lies in the folder itself, not among the results that are written beside and put in place at the end, and no later command
removes it. `say` prints a line and logs it; `detail` logs it only, and prints it where `details_shown` (--verbose) asks so.
"""

import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.error_lines import describe_fault, error_lines
from pipeline.provenance import software_versions

LOG = "run.log"
Tell = Callable[[str], None]
_LOGGER = logging.getLogger("phasemil")
_LIMIT_BYTES = 10_000_000
"""Above it the log becomes run.log.1, in place of an earlier one, and a new one begins."""


_CONTROLS = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
"""Escape sequences begin with one of them, and others turn the direction of writing; tab and line break are none."""
_VISIBLE = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _CONTROLS}


def shown(text: str) -> str:
    """Return a text with its control characters as visible escapes, since a file name may hold a command to the terminal."""
    return text.translate(_VISIBLE)


def say(console: Console, line: str, *, style: str | None = None) -> None:
    """Print a line as it is, whatever its length and characters, and log it; `style` is that of rich, such as "bold red"."""
    line = shown(line)
    console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False, style=style)
    _LOGGER.info(line)


def say_table(console: Console, table: Table) -> None:
    """Print a table, and log its lines."""
    console.print(table, markup=False)
    drawn = StringIO()
    Console(file=drawn, width=console.width, markup=False, emoji=False).print(table)
    for line in drawn.getvalue().splitlines():
        _LOGGER.info(line.rstrip())


def detail(line: str) -> None:
    """Log a line that the console shows with --verbose only."""
    _LOGGER.debug(shown(line))


@contextmanager
def details_shown(console: Console | None) -> Iterator[None]:
    """Also print the details of the block on a console; None prints none."""
    if console is None:
        yield
        return
    with _handled_by(_Details(console)):
        yield


@contextmanager
def logged(folder: Path, command: str, *, tell: Tell) -> Iterator[None]:
    """Append what the block says to run.log in a folder, after the machine and its versions, with how the block ended.

    Args:
        folder: where the command writes; made where there is none.
        command: such as "aggregate.py run".
        tell: receives where the log of a block that failed lies, and that a log cannot be written any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, started = folder / LOG, time.monotonic()
    file = _LogFile(path, tell)
    was_something_said = False
    try:
        with _handled_by(file):
            _LOGGER.info("begin: %s", command)
            for line in _machine_lines():
                detail(line)
            n_before = file.n_lines
            try:
                yield
            except BaseException as error:
                was_something_said = file.n_lines > n_before
                _log_end(error)
                raise
            _LOGGER.info("end: %s, after %.1f s", command, time.monotonic() - started)
    except BaseException:
        if was_something_said:  # otherwise the error says it all
            tell(f"Log of what was done until then: {path}")
        raise


def _log_end(error: BaseException) -> None:
    lines = error_lines(error)
    for line in lines:
        _LOGGER.error(shown(line))
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        _LOGGER.error("interrupted")
    elif not lines:
        _LOGGER.error("a bug of phasemil", exc_info=error)


def _machine_lines() -> Iterator[str]:
    yield f"machine: {platform.node()}, {platform.platform()}, {os.cpu_count()} CPUs"
    yield "versions: " + ", ".join(f"{name} {number}" for name, number in software_versions().items())


@contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    level = _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        _LOGGER.setLevel(level)
        _LOGGER.removeHandler(handler)
        handler.close()


class _Details(logging.Handler):
    """Prints details; what is said is printed without it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one detail."""
        if record.levelno == logging.DEBUG:
            line = record.getMessage()
            self._console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)


class _LogFile(RotatingFileHandler):
    """The file of a log, in UTC; if the disk refuses it, that is told once, and the command goes on without."""

    def __init__(self, path: Path, tell: Tell) -> None:
        super().__init__(path, maxBytes=_LIMIT_BYTES, backupCount=1, encoding="utf-8")
        self._tell, self._is_refused = tell, False
        self.n_lines = 0
        formatter = logging.Formatter("%(asctime)s %(levelname)-5s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and count it."""
        self.n_lines += 1
        super().emit(record)

    def close(self) -> None:
        """Close the file; that the disk refuses the last lines was told when they were written."""
        with suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging
        """Tell once that the file cannot be written; an error that is no fault of the disk is a bug and goes its way."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._is_refused:
            self._is_refused = True
            self._tell(f"{self.baseFilename}: not logged from here on: {describe_fault(error)}")
