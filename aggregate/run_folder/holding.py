"""Lock of a results folder: one command at a time writes to it; the error of a second command names the first.

The lock is the system's own on an open file (flock), so that it ends with the process, however that ends. The file says
who holds it. On a network drive whose server does not tell this machine of another one's lock, the file alone counts.
"""

import fcntl
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from aggregate.run_folder.run_record import RECORD
from aggregate.run_folder.swap import complete_swap, is_cut_off
from pipeline.errors import ResultsError
from pipeline.files import sweep_partials
from pipeline.provenance import utc_now

LOCK = "aggregate.lock"


@contextmanager
def holding(folder: Path, *, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep other commands from writing to a results folder, after what a killed one left there is mended.

    Args:
        folder: the results folder, made where there is none.
        tell: receives what was mended.

    Raises:
        ResultsError: another command writes there; it is named, with the machine and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder / LOCK)
    try:
        if complete_swap(folder):
            tell(f"{folder}: the results of a command that was cut off were complete, and are in place now")
        sweep_partials(folder)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.close()


@contextmanager
def telling_what_stands(folder: Path, *, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell which results the folder holds if the block fails or is stopped; nothing where there are none."""
    try:
        yield
    except BaseException:
        if is_cut_off(folder):
            tell(f"{folder}: the new results are complete, and the next command puts them in place")
        elif (folder / RECORD).is_file():
            tell(f"{folder}: the results of the earlier run are there, as they were")
        raise


def _locked(path: Path) -> IO[str]:
    """Return the open lock file, which holds the lock until it is closed."""
    while True:
        lock = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who had the lock may have removed this file since it was opened here.
            if path.exists() and os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                _refuse_other_machine(path, lock)
                _sign(lock)
                return lock
        except BlockingIOError:
            who = _holder(lock)
            lock.close()
            raise ResultsError(
                f"{path.parent}: {who} is writing results there; wait until it ends, or choose another `output` in the "
                "configuration"
            ) from None
        except BaseException:
            lock.close()
            raise
        lock.close()


def _refuse_other_machine(path: Path, lock: IO[str]) -> None:
    """Refuse a file that another machine signed: whether its process lives cannot be told from here."""
    lock.seek(0)
    text = lock.read()
    if text and _parsed(text).get("host") != platform.node():
        raise ResultsError(
            f"{path.parent}: {_holder(lock)} is writing results there, or was killed; if no command runs there any "
            f"more, delete {path} and run this command again"
        )


def _sign(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.write(json.dumps({"host": platform.node(), "pid": os.getpid(), "since_utc": utc_now()}) + "\n")
    lock.flush()


def _holder(lock: IO[str]) -> str:
    """Return `process 71 on host ct2, since 2026-11-26T10:00:00Z`."""
    lock.seek(0)
    found = _parsed(lock.read())
    if not found:
        return "another command"
    return f"process {found.get('pid')} on host {found.get('host')}, since {found.get('since_utc')},"


def _parsed(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:  # caught between its making and its signing
        return {}
    return found if isinstance(found, dict) else {}
