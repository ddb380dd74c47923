"""Which images are of one patient, by their identifiers alone; persons that share an identifier are refused."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from extract.dicom.headers import ImageHeader
from extract.dicom.pseudonyms import Pseudonyms
from extract.importers.patients import form_of

TWO_PERSONS = (
    "images with this identifier have two dates of birth or two sexes: it stands for two persons, or one is wrong; correct the "
    "export"
)


@dataclass
class Persons:
    """The patients of an export.

    Attributes:
        pseudonyms: of their identifiers.
        headers: of each patient, by pseudonym.
        in_conflict: pseudonyms of identifiers that more than one person has.
        by_study: pseudonyms of those without an identifier, for whom their study stands.
    """

    pseudonyms: Pseudonyms
    headers: dict[str, list[ImageHeader]] = field(default_factory=dict)
    in_conflict: set[str] = field(default_factory=set)
    by_study: set[str] = field(default_factory=set)
    _identities: dict[str, set[str]] = field(default_factory=dict)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The identifiers of the headers, without their issuers; private."""
        return tuple(self._identities)

    def named(self, text: str) -> str:
        """Return the pseudonym of an identifier as a table of labels spells it, without its issuer."""
        identities = self._identities.get(text, set())
        return self.pseudonyms.patient(next(iter(identities)) if len(identities) == 1 else text)

    def near(self, text: str) -> str | None:
        """Return the pseudonym of the only other identifier that differs from one in case, zeros or separators alone."""
        alike = [own for own in self._identities if own != text and form_of(own) == form_of(text)]
        return self.named(alike[0]) if len(alike) == 1 else None


def persons_of(
    headers: Iterable[ImageHeader], pseudonyms: Pseudonyms, spelled: Callable[[str], str]
) -> Persons:
    """Sort headers by patient.

    Args:
        headers: of all objects.
        pseudonyms: of their identifiers.
        spelled: from an identifier to the one that the user says it is a spelling of.
    """
    persons = Persons(pseudonyms)
    traits: dict[str, list[set[str]]] = {}
    for header in headers:
        given, _, issuer = header.patient.partition("\0")
        known = spelled(given)
        identity = "\0".join(filter(None, (known, issuer))) or f"study\0{header.study or header.series}"
        pseudonym = pseudonyms.patient(identity)
        if known:
            persons._identities.setdefault(known, set()).add(identity)
        else:
            persons.by_study.add(pseudonym)
        persons.headers.setdefault(pseudonym, []).append(replace(header, patient=pseudonym))
        seen = traits.setdefault(pseudonym, [set(), set()])
        for values, value in zip(seen, header.traits, strict=True):
            values.update(filter(None, [value]))
    persons.in_conflict = {name for name, seen in traits.items() if max(map(len, seen)) > 1}
    return persons
