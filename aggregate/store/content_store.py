"""A cache folder of entries, each named by a key of everything that its content depends on.

    KEY/about.json      kind, whose, size, SHA-256 of each file; its time in the file system is the last use
    KEY/...             the files of the entry

An entry is written completely or not at all; an entry that does not match its checksums is removed.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.files import flush_folder, naming, partial_of
from pipeline.provenance import sha256_of_file

_ABOUT = "about.json"
_KEY = re.compile(r"[0-9a-f]{32}")
_FIT_OF_EARLIER_RELEASES, _MEASURES_OF_EARLIER_RELEASES = "predictions.npz", "concepts"


class EntryKind(StrEnum):
    """What an entry is."""

    FIT = "fit"
    MEASURES = "measures"
    TRIAL = "trial"
    """What the fits of a study within a budget take."""
    EARLIER_RELEASE = "earlier release"
    """Laid out as before this version, which does not read it."""
    DAMAGED = "damaged"


class _About(BaseModel):
    """What an entry says of itself."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    format: Literal["phasemil-cache"] = "phasemil-cache"
    version: Literal[1] = 1
    key: str
    kind: EntryKind
    of: str
    n_bytes: int
    sha256: dict[str, str]
    """File -> its SHA-256."""


@dataclass(frozen=True)
class Entry:
    """One entry as it lies in the folder.

    Attributes:
        path: its folder, or its file for measures of an earlier release.
        of: name of the model of a fit, identifier of the patient of measures; empty where nothing says it.
        n_bytes: size of its files.
        last_used: seconds since 1970.
    """

    path: Path
    kind: EntryKind
    of: str
    n_bytes: int
    last_used: float

    @property
    def key(self) -> str:
        """The key that names it."""
        return self.path.name.partition(".")[0]


class ContentStore:
    """A folder of entries by key, which several processes may read and write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str, name: str) -> bytes | None:
        """Return a file of an entry, or None where there is no such entry; a damaged one is removed.

        All files of the entry are compared with their checksums.
        """
        entry = self.folder / key
        try:
            content = _checked(entry, name)
        except FileNotFoundError:
            if self.holds(key):
                self._remove(entry)
            return None
        if content is None:
            self._remove(entry)
            return None
        _note_use(entry)
        return content

    def holds(self, key: str) -> bool:
        """Say whether there is an entry of a key, without reading it."""
        return (self.folder / key / _ABOUT).is_file()

    def path_of(self, key: str, name: str) -> Path:
        """Return where a file or folder of an entry lies."""
        return self.folder / key / name

    def faults(self, key: str) -> list[str] | None:
        """Return which files of an entry are not as they were written; None where there is no such entry.

        Nothing is removed, and no use is noted.
        """
        entry = self.folder / key
        if not self.holds(key):
            return None
        about = _read_about(entry)
        if about is None:
            return [_ABOUT]
        found = {
            path.relative_to(entry).as_posix(): path
            for path in entry.rglob("*")
            if path.is_file() and path != entry / _ABOUT
        }
        changed = [
            n for n, sha256 in about.sha256.items() if n not in found or sha256_of_file(found[n]) != sha256
        ]
        return sorted({*changed, *(set(found) - set(about.sha256))})

    @contextmanager
    def writing(self, key: str, kind: EntryKind, *, of: str) -> Iterator[Path]:
        """Yield a new folder to write the files of an entry to; it takes its place when the block succeeds.

        What another process wrote there meanwhile stays, where it is whole.
        """
        entry = self.folder / key
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = partial_of(entry)
        try:
            with naming(entry, instead_of=partial):
                partial.mkdir()
                yield partial
                about = _about(partial, key, kind, of)
                (partial / _ABOUT).write_text(about.model_dump_json(indent=1), encoding="utf-8")
                _note_use(partial)
                flush_folder(partial)
                self._put(partial, entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def entries(self) -> list[Entry]:
        """Return every entry, and what earlier releases kept; whatever else lies in the folder is none."""
        if not self.folder.is_dir():
            return []
        folders = (path for path in self.folder.iterdir() if path.is_dir() and _KEY.fullmatch(path.name))
        old = (self.folder / _MEASURES_OF_EARLIER_RELEASES).glob("*.json")
        files = (path for path in old if path.is_file() and _KEY.fullmatch(path.stem))
        found = [_described(path) for path in (*folders, *files)]
        return sorted((entry for entry in found if entry), key=lambda entry: (entry.last_used, entry.key))

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove entries, of this and of earlier releases."""
        for entry in entries:
            self._remove(entry.path)
        old = self.folder / _MEASURES_OF_EARLIER_RELEASES
        if old.is_dir() and not any(old.iterdir()):
            with suppress(FileNotFoundError):  # another process removed it
                old.rmdir()

    def shrink(self, limit_bytes: float, *, keep: Iterable[str], used_since: float) -> list[Entry]:
        """Remove those used longest ago until the limit is kept; return them.

        Args:
            limit_bytes: of all entries together.
            keep: keys of entries that stay, whatever the limit.
            used_since: seconds since 1970; what was used then or later stays likewise.
        """
        entries, kept = self.entries(), set(keep)
        excess = sum(entry.n_bytes for entry in entries) - limit_bytes
        removed = []
        for entry in entries:
            if excess > 0 and entry.key not in kept and entry.last_used < used_since:
                removed.append(entry)
                excess -= entry.n_bytes
        self.remove(removed)
        return removed

    def _put(self, partial: Path, entry: Path) -> None:
        """Give a written folder its name, unless a whole entry has it."""
        while self.read(entry.name, _ABOUT) is None:
            try:
                partial.replace(entry)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if not self.holds(entry.name):
                    self._remove(entry)  # a folder that is no entry
            else:
                return

    def _remove(self, path: Path) -> None:
        """Remove an entry at once for other processes, then its files; one that another process removed is no fault."""
        gone = partial_of(self.folder / path.name)
        with suppress(FileNotFoundError):
            path.replace(gone)
        if gone.is_dir():
            shutil.rmtree(gone)
        gone.unlink(missing_ok=True)


def _about(folder: Path, key: str, kind: EntryKind, of: str) -> _About:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _About(
        key=key,
        kind=kind,
        of=of,
        n_bytes=sum(path.stat().st_size for path in files),
        sha256={path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files},
    )


def _checked(entry: Path, name: str) -> bytes | None:
    """Return a file of an entry whose files all match their checksums, or None.

    Raises:
        FileNotFoundError: there is no such entry, or it lacks a file.
    """
    about = _read_about(entry)
    if about is None:
        return None
    is_whole = all(sha256_of_file(entry / file) == sha256 for file, sha256 in about.sha256.items())
    return (entry / name).read_bytes() if is_whole else None


def _read_about(entry: Path) -> _About | None:
    """Return what an entry says of itself, or None where that is damaged or of another entry.

    Raises:
        FileNotFoundError: there is no such entry.
    """
    try:
        about = _About.model_validate_json((entry / _ABOUT).read_bytes())
    except ValidationError:
        return None
    return about if about.key == entry.name else None


def _note_use(entry: Path) -> None:
    now = time.time_ns()
    with suppress(PermissionError, FileNotFoundError):  # another user's entry, or one removed meanwhile
        os.utime(entry / _ABOUT, ns=(now, now))


def _described(path: Path) -> Entry | None:
    """Describe what lies under a key, or return None where it was removed meanwhile."""
    with suppress(FileNotFoundError):
        if not (path / _ABOUT).is_file():
            is_earlier = path.is_file() or (path / _FIT_OF_EARLIER_RELEASES).is_file()
            kind = EntryKind.EARLIER_RELEASE if is_earlier else EntryKind.DAMAGED
            return Entry(path, kind, "", _size_of(path), path.stat().st_mtime)
        about, last_used = _read_about(path), (path / _ABOUT).stat().st_mtime
        if about is None:
            return Entry(path, EntryKind.DAMAGED, "", _size_of(path), last_used)
        return Entry(path, about.kind, about.of, about.n_bytes, last_used)
    return None


def _size_of(path: Path) -> int:
    files = [path] if path.is_file() else [inside for inside in path.rglob("*") if inside.is_file()]
    return sum(file.stat().st_size for file in files)
