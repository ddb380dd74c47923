"""Words of a series description that name a phase, in the languages in which scanners are set up.

Only these words leave a description; the text itself may hold a name.
"""

import re
from collections.abc import Mapping, Sequence

_PLAIN: Mapping[str, Sequence[str]] = {
    "NC": (
        "non-contrast", "noncontrast", "non con", "unenhanced", "without contrast", "w/o contrast", "wo contrast", "precontrast",
        "pre-contrast", "native", "nativ", "nativo", "plain", "sans injection", "ohne km", "sin contraste",
    ),
    "AP": ("arterial", "arteriell", "arterielle", "arteriel", "arteriosa", "artériel", "art", "artery"),
    "PVP": ("portal", "portal venous", "portalvenous", "portovenous", "portalvenös", "portovenös", "portale", "porto"),
    "DP": ("delayed", "delay", "equilibrium", "excretory"),
}  # fmt: skip
"""Words that mean one phase wherever they stand."""
_DOUBTFUL: Mapping[str, Sequence[str]] = {
    "NC": ("pre", "nc", "dry"),
    "AP": ("ap", "c1"),
    "PVP": ("venous", "venös", "venoes", "venoso", "veineux", "ven", "pv", "pvp", "c2"),
    "DP": ("late", "spät", "spaet", "tardif", "tardive", "tardiva", "tardía", "dp", "del", "c3"),
}
"""Words that mean something else too: AP is abdomen and pelvis, venous and late phases are of
several times."""
_COMPOUND = {"late arterial": "AP", "early arterial": "AP", "late venous": "DP", "hepatic arterial": "AP"}


def phases_given(text: str, given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the phases whose words, as the user gave them, stand in a text.

    Args:
        text: such as a series description.
        given: words in lower case -> phase.
    """
    folded = re.sub(r"[\s_]+", " ", text.lower())
    return tuple(dict.fromkeys(phase for word, phase in given.items() if _has(folded, word)))


def phases_named(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the phases that a text names, each with the word: those that are plain, and those that are doubtful.

    >>> phases_named("LIVER late arterial 1.0 B30f")
    ({'AP': 'late arterial'}, {})
    """
    folded = re.sub(r"[\s_]+", " ", text.lower())
    plain: dict[str, str] = {}
    for word, phase in _COMPOUND.items():
        if _has(folded, word):
            plain.setdefault(phase, word)
            folded = folded.replace(word, " ")
    plain |= {phase: word for phase, word in _first(folded, _PLAIN).items() if phase not in plain}
    for words in _PLAIN.values():
        for word in sorted(words, key=len, reverse=True):
            folded = re.sub(_pattern(word), " ", folded)
    doubtful = {phase: word for phase, word in _first(folded, _DOUBTFUL).items() if phase not in plain}
    return plain, doubtful


def _first(text: str, vocabulary: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {phase: word for phase, words in vocabulary.items() for word in sorted(words) if _has(text, word)}


def _has(text: str, word: str) -> bool:
    return re.search(_pattern(word), text) is not None


def _pattern(word: str) -> str:
    """Return a pattern of whole words: letters on either side make another word."""
    return rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])"
