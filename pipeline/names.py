"""The names of a configuration: accepted spellings and ambiguous ones.

A spelling is translated only if it means the same everywhere; for an ambiguous one the user must say which is
meant. Every translation is reported.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.config import CohortSection
from pipeline.errors import CohortError, ConfigError

PHASE_ALIASES: Mapping[str, Sequence[str]] = {
    "NC": ("nc", "dry", "plain", "native", "precontrast", "pre", "c-pre", "non-contrast", "nativ", "sans injection",
           "ohne kontrastmittel"),
    "AP": ("ap", "art", "arterial", "c1", "c+a", "artériel", "arteriel", "artérielle", "arterielle", "arteriell"),
    "PVP": ("pvp", "pv", "ven", "venous", "portal", "portal venous", "c2", "c+v", "veineux", "venös", "portalvenös",
            "portal venös", "portalvenoes"),
    "DP": ("dp", "del", "delay", "delayed", "c3", "c+delay"),
}  # fmt: skip
"""Spellings found in public multiphasic liver datasets (PLC-CECT, WAW-TACE, AMPLIFAI, LLD-MMRI), and French and German words
that mean one phase only."""
PHASE_ROLES: Mapping[str, str] = {"NC": "non_contrast", "AP": "arterial", "PVP": "portal", "DP": "delayed"}
"""The role in [cohort.phase_roles] of a phase with this name or one of its spellings."""
CHANNELS: Mapping[str, str] = {"0000": "NC", "0001": "AP", "0002": "PVP", "0003": "DP"}
"""Channels of nnU-Net datasets. They count, so they are understood only beside all four phases."""
AMBIGUOUS_PHASES: Mapping[str, str] = {
    "p": "plain in some data sets, portal venous in others",
    "a": "arterial in some data sets, the first of a lettered series in others",
    "late": "delayed to some, late arterial to others",
    "tardif": "delayed to some, late arterial to others",
    "spät": "delayed to some, late arterial to others",
    "spaet": "delayed to some, late arterial to others",
}
LABEL_ALIASES: Mapping[str, Sequence[str]] = {
    "HCC": ("hcc",),
    "iCCA": ("icca", "icc", "cca", "imcc"),
    "cHCC-CCA": ("chcc-cca", "chcc-cc", "chcc-icca", "mixed"),
}
AMBIGUOUS_LABELS: Mapping[str, str] = {
    "chc": "hepatocellular carcinoma in French, Spanish and Portuguese, the combined carcinoma elsewhere",
    "chcc": "the combined carcinoma to some, classical hepatocellular carcinoma (beside fibrolamellar) to others",
}
_OTHER_CHOLANGIOCARCINOMAS = {"ecca", "pcca", "dcca"}
_SHORT = 2
"""Letters of a name of which one wrong letter is half."""
_CCA = "cholangiocarcinoma of any place, beside a class of those outside the liver"


@dataclass(frozen=True)
class Translation:
    """One spelling of the cohort table that was read as another word."""

    what: str
    """`phase`, `label` or `column`."""
    given: str
    meaning: str
    n_rows: int

    def __str__(self) -> str:
        return f"{self.what} {self.given!r} read as {self.meaning} ({count_of_rows(self.n_rows)})"


@dataclass(frozen=True)
class Vocabulary:
    """The phases or the classes of a configuration, with their accepted spellings."""

    what: str
    """`phase` or `label`."""
    names: tuple[str, ...]
    spellings: Mapping[str, str]
    """Spelling in lower case -> name."""
    ambiguous: Mapping[str, str]
    """Spelling in lower case -> its possible meanings."""

    def find(self, text: str) -> str | None:
        """Return the name that a spelling stands for; None where it is unknown or ambiguous."""
        return self.spellings.get(folded(text))

    def doubt(self, text: str) -> str | None:
        """Return what an ambiguous spelling may mean and what to write; None for every other one."""
        meanings = None if self.find(text) else self.ambiguous.get(folded(text))
        return meanings and (
            f"{self.what} {text!r} is ambiguous ({meanings}); say which in [cohort.{self.what}_aliases]: "
            f'"{text}" = one of {", ".join(self.names)}'
        )

    def problem(self, text: str) -> str:
        """Return why a spelling is not accepted, and what is expected."""
        if text.rstrip().endswith("?"):
            proposed = self.find(text.rstrip("? "))
            write = f"{proposed} if it is right, else another" if proposed else "one"
            return (
                f"{self.what} {text!r} is not confirmed: look at the scan and at import_report.csv, then write {write} of "
                f"{', '.join(self.names)}, or delete the row"
            )
        near = nearest(text, self.spellings, cutoff=0.5 if len(text) <= _SHORT else 0.6)
        hint = f"; nearest: {self.spellings[near]!r}" if near else ""
        return self.doubt(text) or (
            f"unknown {self.what} {text!r}; expected one of {', '.join(self.names)}, or an alias in "
            f"[cohort.{self.what}_aliases]{hint}"
        )

    def resolve(self, text: str, *, where: str) -> str:
        """Return the name that a spelling in the configuration stands for.

        Raises:
            ConfigError: the spelling is unknown (the nearest one is named) or ambiguous.
        """
        name = self.find(text)
        if name is None:
            raise ConfigError(f"{where}: {self.problem(text)}")
        return name


def phase_vocabulary(section: CohortSection) -> Vocabulary:
    """Return the phases of a configuration with their accepted spellings.

    Raises:
        CohortError: an alias of the configuration points to an unknown name or contradicts a name.
    """
    built_in = _aliases_of(section.phases, PHASE_ALIASES)
    if set(PHASE_ALIASES) <= set(section.phases):
        built_in |= CHANNELS
    return _vocabulary("phase", section.phases, built_in, AMBIGUOUS_PHASES, section.phase_aliases)


def label_vocabulary(section: CohortSection) -> Vocabulary:
    """Return the classes of a configuration with their accepted spellings.

    Raises:
        CohortError: an alias of the configuration points to an unknown name or contradicts a name.
    """
    built_in = _aliases_of(section.classes, LABEL_ALIASES)
    ambiguous = dict(AMBIGUOUS_LABELS)
    if _OTHER_CHOLANGIOCARCINOMAS & set(map(folded, section.classes)):
        built_in.pop("cca", None)
        ambiguous["cca"] = _CCA
    return _vocabulary("label", section.classes, built_in, ambiguous, section.label_aliases)


def _aliases_of(names: Sequence[str], table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the built-in spellings of names, which may bear one of these spellings themselves (`art` for AP)."""
    found: dict[str, str] = {}
    for name in names:
        for usual, aliases in table.items():
            if name == usual or (usual not in names and folded(name) in aliases):
                found |= dict.fromkeys((folded(usual), *aliases), name)
    return found


def _vocabulary(
    what: str,
    names: tuple[str, ...],
    built_in: Mapping[str, str],
    ambiguous: Mapping[str, str],
    given: Mapping[str, str],
) -> Vocabulary:
    own = {folded(name): name for name in names}
    asked: dict[str, str] = {}
    for alias, name in given.items():
        if name not in names:
            near = nearest(name, names)
            raise CohortError(
                f"[cohort.{what}_aliases] {alias!r} leads to {name!r}; expected one of {', '.join(names)}"
                f"{f'; nearest: {near!r}' if near else ''}"
            )
        other = own.get(folded(alias), asked.get(folded(alias), name))
        if other != name:
            raise CohortError(
                f"[cohort.{what}_aliases] {alias!r} leads to {name!r}, but stands for {other!r} already"
            )
        asked[folded(alias)] = name
    return Vocabulary(what, names, {**built_in, **own, **asked}, ambiguous)


def folded(text: str) -> str:
    """Normalise a spelling for comparison: composed Unicode, lower case, no surrounding blanks."""
    return unicodedata.normalize("NFC", text).strip().lower()


def nearest(text: str, valid: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the valid name nearest to a mistyped one, ignoring case."""
    by_form: dict[str, str] = {}
    for name in valid:
        by_form.setdefault(folded(name), name)
    near = difflib.get_close_matches(folded(text), by_form, n=1, cutoff=cutoff)
    return by_form[near[0]] if near else None


def hint_of_nearest(text: str, valid: Iterable[str]) -> str:
    """Return `nearest valid name: 'x'`, or all valid names where none is near."""
    names = tuple(dict.fromkeys(valid))
    near = nearest(text, names)
    return f"nearest valid name: {near!r}" if near else f"valid names: {', '.join(names) or 'none'}"


def count_of_rows(n: int) -> str:
    """Return `1 row` or `24 rows`."""
    return number_of(n, "row")


def number_of(n: int, noun: str) -> str:
    """Return a number with a noun, which takes an s: `1 patient`, `0 patients`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
