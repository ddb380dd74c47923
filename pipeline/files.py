"""Atomic writing: a file is complete or absent."""

import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME_BYTES = 255
"""Longest file name that common file systems allow, in bytes."""
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_LEFTOVER = re.compile(rf"\.{_HOST}-(\d+)-[0-9a-f]{{8}}\.partial$")
_LONGEST_PID = 2**22
MAX_IDENTIFIER_BYTES = _NAME_BYTES - len(f".h5.{_HOST}-{_LONGEST_PID}-{'0' * 8}.partial")
"""Longest identifier in UTF-8 that can name a bag, also while the bag is being written."""


def with_home(path: str) -> str:
    """Return a path with `~/` at its beginning replaced by the user's own folder."""
    return os.path.expanduser(path) if path.startswith("~/") else path  # noqa: PTH111  # Path's own raises


def check_regular(path: Path) -> None:
    """Refuse what is no ordinary file before it is opened: a pipe or a device would be read for ever.

    Raises:
        OSError: there is no such file, a link leads to itself, or it is a folder, pipe, socket or device.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "the path holds a NUL character", str(path))
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file but a pipe, socket or device", str(path))


def path_hint(path: str) -> str:
    """Return advice on a path with characters that this system does not understand; empty if there are none."""
    if any(ord(sign) < 32 for sign in path):
        return "; the path holds a control character (in TOML a backslash begins one, as in \"a\\table\"): write '/'"
    if os.sep == "/" and "\\" in path:
        return "; backslashes separate no folders on this machine: write '/'"
    if "~" in path:
        return "; '~' is the user's folder only at the very beginning, as in '~/data'"
    return ""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a uniquely named sibling to write to; it is renamed to `path` only if the block succeeds.

    The sibling ends in `.partial`, is flushed to the disk before the rename, and is removed when the block
    raises; a killed process leaves at most a `.partial` file, never a half-written `path`.
    """
    sibling = partial_of(path)
    with naming(path, instead_of=sibling):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield sibling
            _flush_to_disk(sibling)
            sibling.replace(path)
            _flush_to_disk(path.parent)
        finally:
            sibling.unlink(missing_ok=True)


@contextmanager
def replaced_whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside to write to, which takes the place of `folder`, or of nothing, if the block succeeds."""
    beside = partial_of(folder.resolve())
    beside.mkdir(parents=True)
    try:
        yield beside
        if folder.exists():
            old = partial_of(folder.resolve())
            folder.rename(old)
            beside.rename(folder)
            shutil.rmtree(old)
        else:
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def naming(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Add `path` to an OSError of the block that names no file, such as that of a full disk.

    An error that names `instead_of`, or a file in it, is changed to name `path`.
    """
    try:
        yield
    except OSError as error:
        named = None if error.filename is None else Path(str(error.filename))
        if error.errno is not None and (named is None or (instead_of and named.is_relative_to(instead_of))):
            error.filename = str(path)
        raise


def partial_of(path: Path) -> Path:
    """Return a unique name beside `path` that says which machine and process writes it."""
    return path.with_name(f"{path.name}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")


def sweep_partials(folder: Path) -> list[Path]:
    """Remove partial files that killed processes of this machine left in a folder; return their paths.

    Files of running processes, and of other machines that share the folder, stay.
    """
    left = [path for path in folder.glob("*.partial") if _is_abandoned(path)]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return left


def _is_abandoned(path: Path) -> bool:
    found = _LEFTOVER.search(path.name)
    if not found or os.name != "posix":  # elsewhere, asking for a process may end it
        return False
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False  # it lives, and is another user's
    return False


def flush_folder(folder: Path) -> None:
    """Flush every file of a folder to the disk, and the folders themselves, before it is renamed into its place."""
    for path in (*folder.rglob("*"), folder):
        _flush_to_disk(path)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
