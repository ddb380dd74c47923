"""What the words of a file name tell: a phase, and whether the file is an image, a mask of the tumour or of the organ."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.names import CHANNELS, folded
from pipeline.spellings import Spellings

_MASK = {
    "mask",
    "masks",
    "seg",
    "segm",
    "segmentation",
    "label",
    "labels",
    "roi",
    "masque",
    "maske",
    "segmentierung",
}
_TUMOUR = {
    "tumor", "tumors", "tumour", "tumours", "lesion", "lesions", "tumeur", "tumeurs", "lésion", "lésions", "läsion",
    "laesion", "läsionen", "nodule",
}  # fmt: skip
_ORGAN = {"liver", "foie", "leber", "livermask", "organ", "hepar", "organe"}
_BETWEEN_WORDS = re.compile(r"[\s_.\-]+")
_LONGEST = 4
"""Words of the longest spelling of a phase."""


class Role(StrEnum):
    """What a file is."""

    IMAGE = "image"
    TUMOUR = "mask of the tumour"
    ORGAN = "mask of the organ"


@dataclass(frozen=True)
class PhaseWord:
    """A spelling of a phase that stands in a name; the phase is None where it is ambiguous."""

    spelling: str
    phase: str | None


def words_of(name: str) -> tuple[str, ...]:
    """Cut a name into words at blanks, points, hyphens and underscores; `C+A` stays one.

    >>> words_of("P07_Portal-venous")
    ('p07', 'portal', 'venous')
    """
    return tuple(filter(None, _BETWEEN_WORDS.split(folded(name))))


@dataclass(frozen=True)
class RoleWord:
    """What a file is, and the word that says so; an image needs none."""

    role: Role
    word: str = ""


def role_of(name: str) -> RoleWord:
    """Tell by the words of a name what the file is; a tumour of the liver is a tumour."""
    words = words_of(name)
    for role, known in ((Role.TUMOUR, _TUMOUR), (Role.ORGAN, _ORGAN), (Role.TUMOUR, _MASK)):
        found = next((word for word in words if word in known), None)
        if found:
            return RoleWord(role, found)
    return RoleWord(Role.IMAGE)


def phase_words(name: str, spellings: Spellings) -> tuple[PhaseWord, ...]:
    """Return the spellings of phases in a name; those with two meanings only where there is no other.

    Channels such as 0001 are none: in a name they number the patients.
    """
    found = tuple(_found(words_of(name), spellings))
    for word in found:
        spellings.ground(word.spelling, "")  # so that it is known as one that stands somewhere
    return tuple(word for word in found if word.phase) or found


def _found(words: Sequence[str], spellings: Spellings) -> Iterator[PhaseWord]:
    at = 0
    known = _by_words(spellings)
    while at < len(words):
        n = next((n for n in range(_LONGEST, 0, -1) if tuple(words[at : at + n]) in known), 0)
        if n:
            yield known[tuple(words[at : at + n])]
        at += n or 1


def _by_words(spellings: Spellings) -> dict[tuple[str, ...], PhaseWord]:
    vocabulary = spellings.phases
    unclear = {words_of(text): PhaseWord(text, None) for text in vocabulary.ambiguous}
    clear = {
        words_of(text): PhaseWord(text, name)
        for text, name in vocabulary.spellings.items()
        if text not in CHANNELS or text in spellings.given
    }
    return {**unclear, **clear}
