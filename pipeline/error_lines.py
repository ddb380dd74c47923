"""What an error says to the user: one line, or one for each of several mistakes; none for a bug."""

import errno
from collections.abc import Mapping

from pipeline.errors import PhasemilError, SeveralMistakesError

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


def error_lines(error: BaseException) -> list[str]:
    """Return what to tell about an error of the user or the machine: one line, and one for each of several mistakes.

    These are PhasemilError, files and folders that the system refuses, and a full disk or memory. For any other error,
    which is a bug and keeps its traceback, there are no lines.
    """
    if isinstance(error, SeveralMistakesError):
        n = len(error.problems)
        first = f"{n} mistakes, one per line; correct them and run the same command again"
        return [first, *(" ".join(problem.split()) for problem in error.problems)]
    if isinstance(error, PhasemilError):
        return [_in_one_line(str(error))]
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _ADVICE):
        return [_in_one_line(describe_fault(error))]
    if isinstance(error, MemoryError):
        return [_in_one_line(f"not enough memory: {error or 'allocation failed'}; {_ADVICE[errno.ENOMEM]}")]
    return []


def describe_fault(error: OSError) -> str:
    """Describe a system error in one line: what failed, for which file, and what to do."""
    where = "" if error.filename is None else f"{error.filename}: "
    advice = _ADVICE.get(error.errno or 0)
    return f"{where}{error.strerror or error}" + (f"; {advice}" if advice else "")


def _in_one_line(message: str) -> str:
    return "; ".join(part.strip() for part in message.splitlines() if part.strip())
