"""Identifiers of patients in two spellings, which are asked about and never joined."""

import re
from collections.abc import Iterable, Mapping

from pipeline.names import folded

_SEPARATORS = re.compile(r"[\s_.\-]+")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def form_of(identifier: str) -> str:
    """Return a form that is the same for identifiers that differ in case, separators or leading zeros only.

    >>> form_of("P-007"), form_of("p7"), form_of("P 70")
    ('p7', 'p7', 'p70')
    """
    return _LEADING_ZEROS.sub("", _SEPARATORS.sub("", folded(identifier)))


def in_two_spellings(identifiers: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of different identifiers that have one form."""
    groups: dict[str, list[str]] = {}
    for identifier in dict.fromkeys(identifiers):
        groups.setdefault(form_of(identifier), []).append(identifier)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_matches(unmatched: Iterable[str], known: Iterable[str]) -> Mapping[str, str]:
    """Return unmatched identifiers with the known one of the same form, where there is exactly one."""
    by_form: dict[str, list[str]] = {}
    for identifier in known:
        by_form.setdefault(form_of(identifier), []).append(identifier)
    found = {identifier: by_form.get(form_of(identifier), []) for identifier in unmatched}
    return {identifier: near[0] for identifier, near in found.items() if len(near) == 1}
