"""Pseudonyms of patients, series and files: HMAC-SHA256 under a key that only the user has.

The same key gives the same pseudonym in every import; without the key nobody can try identifiers one after the other. What
leads back to an original is written beside the key, for its owner, and nowhere else.
"""

import csv
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import PhasemilError
from pipeline.files import written_whole

ORIGINALS = ".originals.csv"
"""Ending of the private file beside the key."""
_BYTES = 32
_DIGITS = 12
"""Hexadecimal digits of a pseudonym: 48 bits, so that two of a million patients are alike once in 500 cohorts."""
_COLUMNS = ("pseudonym", "original")


class KeyFileError(PhasemilError, ValueError):
    """The key cannot be used, or two originals have one pseudonym."""


@dataclass
class Pseudonyms:
    """The pseudonyms given under one key.

    Attributes:
        key: the secret.
        path: its file.
        is_new: whether the key was made just now.
    """

    key: bytes
    path: Path
    is_new: bool = False
    _hashed: dict[str, str] = field(default_factory=dict)
    _originals: dict[str, str] = field(default_factory=dict)

    def patient(self, identity: str) -> str:
        """Return the pseudonym of a patient, such as p1f0c5b2a9d7e."""
        return self._of("p", identity)

    def series(self, uid: str, where: Path) -> str:
        """Return the pseudonym of a series, of which a file lies at `where` in the folder of the import."""
        return self._of("s", uid, shown=f"{uid} in {where.parent.as_posix()}")

    def file(self, path: Path, folder: Path) -> str:
        """Return the pseudonym of a file by its path in the folder of the import."""
        return self._of("f", path.relative_to(folder).as_posix())

    def word(self, text: str) -> str:
        """Return the pseudonym of a text, such as the name of a segment."""
        return self._of("w", text)

    @property
    def originals_path(self) -> Path:
        """Where the private file lies."""
        return self.path.with_name(self.path.name + ORIGINALS)

    def write_originals(self) -> Path:
        """Write what each pseudonym stands for beside the key, those of earlier imports included, for its owner alone."""
        path = self.originals_path
        rows = sorted({**_read_originals(path), **self._originals}.items())
        with (
            written_whole(path) as sibling,
            _private(sibling).open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream)
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
        return path

    def _of(self, kind: str, original: str, *, shown: str | None = None) -> str:
        digest = hmac.new(self.key, f"{kind}\0{original}".encode(), hashlib.sha256).hexdigest()
        pseudonym = f"{kind}{digest[:_DIGITS]}"
        if self._hashed.setdefault(pseudonym, original) != original:
            raise KeyFileError(f"{self.path}: two originals have the pseudonym {pseudonym}; use another key")
        self._originals.setdefault(pseudonym, (shown or original).replace("\0", " "))
        return pseudonym


def open_key(path: Path) -> Pseudonyms:
    """Read a key, or make one where there is no file.

    Raises:
        KeyFileError: others can read it, or it holds no key.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _make_key(path)
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: expected a key that this program made, found: {error}") from error
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyFileError(f"{path}: others can read the key; take their rights away: chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < _BYTES:
        raise KeyFileError(
            f"{path}: expected a key of {_BYTES} bytes in hexadecimal digits, found something else; name a file that does not "
            "exist yet to have one made"
        )
    return Pseudonyms(key, path)


def _make_key(path: Path) -> Pseudonyms:
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(_BYTES)
    with _private(path).open("w", encoding="ascii") as stream:
        stream.write(key.hex() + "\n")
    return Pseudonyms(key, path, is_new=True)


def _private(path: Path) -> Path:
    """Make an empty file that its owner alone can read."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    return path


def _read_originals(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["pseudonym"]: row["original"] for row in csv.DictReader(stream)}
