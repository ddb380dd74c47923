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
    "AP": ("arterial", "arteriell", "arterielle", "arteriel", "arteriosa", "artériel", "art"),
    "PVP": ("portal", "portal venous", "portalvenous", "portovenous", "portalvenös", "portovenös", "portale", "porto"),
    "DP": ("delayed", "equilibrium", "excretory"),
}  # fmt: skip
"""Words that mean one phase wherever they stand."""
_DOUBTFUL: Mapping[str, Sequence[str]] = {
    "NC": ("pre", "nc", "dry"),
    "AP": ("ap", "c1", "artery"),
    "PVP": ("venous", "venös", "venoes", "venoso", "veineux", "ven", "pv", "pvp", "c2"),
    "DP": ("late", "spät", "spaet", "tardif", "tardive", "tardiva", "tardía", "dp", "del", "c3", "delay"),
}
"""Words that mean something else too: AP is abdomen and pelvis, venous and late phases are of several times, and a delay is
one of seconds before any phase."""
_COMPOUND = {"late arterial": "AP", "early arterial": "AP", "late venous": "DP", "hepatic arterial": "AP"}
_WITH_AND_WITHOUT = r"(?<![^\W\d_])w(?:ith|/)?(?: ?(?:and|&|\+|/|,))? ?w(?:ithout|/?o)(?![^\W\d_])"
"""Of an examination that has both, which tells nothing of one series: `w/wo`, `with and without`."""
_CASTING_DOUBT = (
    *("vnc", "virtual", "iodine", "map", "mip", "minip", "subtraction", "subtracted", "sub", "kev", "monoenergetic", "mono"),
    *("pulmonary", "pulm", "lung", "renal", "kidney", "brain", "neck", "leg", "runoff"),
    *("tracking", "tracker", "monitoring", "premonitoring", "test", "timing"),
    *("pre", "post", "non", "no", "not", "without", "early"),
)  # fmt: skip
"""Words beside which a phase is not certain: images computed from others, other organs, the timing of the bolus, and turns such as
`post arterial`."""


def word_of_doubt(text: str, given: Mapping[str, str] | None = None) -> str | None:
    """Return a word of a text that leaves open whether the phase that it names is that of the images; None without one.

    >>> word_of_doubt("VNC arterial 1.0"), word_of_doubt("portal venous post contrast"), word_of_doubt("post arterial")
    ('vnc', None, 'post')

    Args:
        text: such as a series description.
        given: words in lower case that the user gave a phase; what they hold themselves casts no doubt.
    """
    folded = _folded(text).replace("post contrast", " ").replace("post-contrast", " ")
    for word in sorted((*(given or {}), *_COMPOUND, *_all(_PLAIN)), key=len, reverse=True):
        folded = re.sub(_pattern(word), " ", folded)
    return next((word for word in _CASTING_DOUBT if _has(folded, word)), None)


def phases_given(text: str, given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the phases whose words, as the user gave them, stand in a text.

    Args:
        text: such as a series description.
        given: words in lower case -> phase.
    """
    folded = _folded(text)
    return tuple(dict.fromkeys(phase for word, phase in given.items() if _has(folded, word)))


def phases_named(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the phases that a text names, each with the word: those that are plain, and those that are doubtful.

    >>> phases_named("LIVER late arterial 1.0 B30f")
    ({'AP': 'late arterial'}, {})
    """
    folded = _folded(text)
    plain: dict[str, str] = {}
    for word, phase in _COMPOUND.items():
        if _has(folded, word):
            plain.setdefault(phase, word)
            folded = folded.replace(word, " ")
    plain |= {phase: word for phase, word in _first(folded, _PLAIN).items() if phase not in plain}
    for word in sorted(_all(_PLAIN), key=len, reverse=True):
        folded = re.sub(_pattern(word), " ", folded)
    doubtful = {phase: word for phase, word in _first(folded, _DOUBTFUL).items() if phase not in plain}
    return plain, doubtful


def _folded(text: str) -> str:
    """Return a text in lower case, with one blank between words, without what names an examination of both."""
    return re.sub(_WITH_AND_WITHOUT, " ", re.sub(r"[\s_]+", " ", text.lower()))


def _all(vocabulary: Mapping[str, Sequence[str]]) -> list[str]:
    return [word for words in vocabulary.values() for word in words]


def _first(text: str, vocabulary: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {phase: word for phase, words in vocabulary.items() for word in sorted(words) if _has(text, word)}


def _has(text: str, word: str) -> bool:
    return re.search(_pattern(word), text) is not None


def _pattern(word: str) -> str:
    """Return a pattern of whole words: letters on either side make another word."""
    return rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])"
