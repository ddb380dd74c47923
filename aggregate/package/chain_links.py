"""What `verify` says: one link of the chain from images to results, and whether it holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.provenance import sha256_of_file

_NAMED = 3


class State(StrEnum):
    """Whether a link holds."""

    MATCHES = "matches"
    DIFFERS = "differs"
    UNKNOWN = "cannot be checked"


@dataclass(frozen=True)
class Link:
    """One link: what was compared with what.

    Attributes:
        link: such as "result -> model".
        subject: what of it, such as a file or a model.
        state: whether it holds.
        expected: where it differs, what was expected.
        found: where it differs, what was found.
        why: where it cannot be checked, the reason; else how much was compared.
    """

    link: str
    subject: str
    state: State
    expected: str = ""
    found: str = ""
    why: str = ""

    def __str__(self) -> str:
        told = f"{self.state:<17} {self.link}: {self.subject}"
        if self.state is State.DIFFERS:
            return f"{told}: expected {self.expected}, found {self.found}"
        return f"{told} ({self.why})" if self.why else told


@dataclass(frozen=True)
class Compared:
    """One thing that was compared: None stands for what is not there."""

    name: str
    expected: str
    found: str | None


def summed_up(link: str, what: str, compared: Iterable[Compared], *, absent: str) -> Iterator[Link]:
    """Yield a link for each thing that differs, one for all that match, and one for all that are not there.

    Args:
        link: of the chain.
        what: the things, in the plural.
        compared: each of them.
        absent: why one that is not there cannot be checked.
    """
    every = list(compared)
    differing = [one for one in every if one.found is not None and one.found != one.expected]
    missing = [one.name for one in every if one.found is None]
    n_same = len(every) - len(differing) - len(missing)
    yield from (Link(link, one.name, State.DIFFERS, one.expected, str(one.found)) for one in differing)
    if n_same:
        yield Link(link, what, State.MATCHES, why=f"{n_same} of {len(every)}")
    if missing:
        yield Link(link, what, State.UNKNOWN, why=f"{listed(missing)}: {absent}")


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many there are."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} ... ({len(names)})"


def compared_files(folder: Path, known: Mapping[str, str]) -> Iterator[Compared]:
    """Yield every file of a folder that a record lists with its SHA-256."""
    for name, sha256 in known.items():
        path = folder / name
        yield Compared(name, sha256, sha256_of_file(path) if path.is_file() else None)


def file_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None where there is none."""
    return sha256_of_file(path) if path.is_file() else None
