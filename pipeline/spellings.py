"""Spellings of phases, classes and patients in folders and files, and those that the user adds to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import CohortSection
from pipeline.errors import CohortError
from pipeline.names import Vocabulary, folded, label_vocabulary, phase_vocabulary


@dataclass(frozen=True)
class Spellings:
    """Known spellings.

    Attributes:
        phases: of the phases; ambiguous ones are known as such.
        classes: of the classes.
        patients: spelling -> identifier, as the user said.
        given: which spellings, folded, the user gave for phases and classes.
        pseudonym: replaces the identifier of a patient; None where identifiers stay.
        near: beside `pseudonym`: from an identifier to the pseudonym of the one that is almost the same.
        heard: texts that were asked about so far, so that a spelling which stands nowhere can be told.
    """

    phases: Vocabulary
    classes: Vocabulary
    patients: Mapping[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    pseudonym: Callable[[str], str] | None = None
    near: Callable[[str], str | None] | None = None
    heard: set[str] = field(default_factory=set, compare=False)

    def phase(self, text: str) -> str | None:
        """Return the phase that a spelling stands for; None where it is unknown.

        Raises:
            CohortError: it is ambiguous.
        """
        self._hear(text)
        found = self.phases.find(text)
        if found is None and (question := self.question(self.phases, text)):
            raise CohortError(question)
        return found

    def question(self, vocabulary: Vocabulary, text: str) -> str | None:
        """Return what is to be said of an ambiguous spelling; None for every other one."""
        self._hear(text)
        meanings = None if vocabulary.find(text) else vocabulary.ambiguous.get(folded(text))
        if not meanings:
            return None
        what, option = vocabulary.what, {"label": "class"}.get(vocabulary.what, vocabulary.what)
        return f'{what} {text!r} is ambiguous ({meanings}); say which: --{option} "{text}=NAME"'

    def patient(self, text: str) -> str:
        """Return the identifier of a patient as spelled in the folder."""
        self._hear(text)
        known = self.patients.get(text, text)
        return self.pseudonym(known) if self.pseudonym and known else known

    def ground(self, text: str, otherwise: str) -> str:
        """Return where the meaning of a spelling comes from: the command, or otherwise what is given."""
        self._hear(text)
        return "the command" if folded(text) in self.given else otherwise

    def unheard(self) -> Mapping[str, tuple[str, ...]]:
        """Return the spellings that the user gave and that stood nowhere, by their option."""
        by_option = {
            "--phase": [text for text in self.phases.spellings if text in self.given],
            "--class": [text for text in self.classes.spellings if text in self.given],
            "--patient": list(self.patients),
        }
        return {
            option: tuple(text for text in given if text not in self.heard)
            for option, given in by_option.items()
        }

    def _hear(self, text: str) -> None:
        self.heard.update((text, folded(text)))


def read_spellings(
    phases: Sequence[str] = (), classes: Sequence[str] = (), patients: Sequence[str] = ()
) -> Spellings:
    """Read spellings such as `portale=PVP`, beside those that are known.

    Raises:
        CohortError: one is not of this form, or contradicts a name.
    """
    names = CohortSection(table=Path())
    of_phases = _named(spelling_pairs("phase", phases), names.phases)
    of_classes = _named(spelling_pairs("class", classes), names.classes)
    section = CohortSection(
        table=Path(),
        phases=_with(names.phases, of_phases),
        classes=_with(names.classes, of_classes),
        phase_aliases=of_phases,
        label_aliases=of_classes,
    )
    return Spellings(
        phase_vocabulary(section),
        label_vocabulary(section),
        spelling_pairs("patient", patients),
        frozenset(map(folded, (*of_phases, *of_classes))),
    )


def _named(given: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return spellings with `pvp` as the name PVP."""
    by_form = {folded(name): name for name in names}
    return {spelling: by_form.get(folded(name), name) for spelling, name in given.items()}


def _with(names: tuple[str, ...], given: Mapping[str, str]) -> tuple[str, ...]:
    known = set(map(folded, names))
    return (*names, *(name for name in dict.fromkeys(given.values()) if folded(name) not in known))


def spelling_pairs(what: str, given: Sequence[str]) -> dict[str, str]:
    """Return spelling -> name of options such as `--class CHC=HCC`.

    Raises:
        CohortError: one is not of this form, or a spelling leads to two names.
    """
    pairs: dict[str, str] = {}
    for text in given:
        spelling, equals, name = (part.strip() for part in text.rpartition("="))
        if not (equals and spelling and name):
            raise CohortError(f'--{what} {text!r}: expected SPELLING=NAME, such as --{what} "x=y"')
        if pairs.setdefault(spelling, name) != name:
            raise CohortError(f"--{what}: {spelling!r} leads to {pairs[spelling]!r} and to {name!r}")
    return pairs
