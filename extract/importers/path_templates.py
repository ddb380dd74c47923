"""Templates of paths such as `{patient}/{phase}_img.nii.gz`."""

import re
from collections.abc import Mapping

from pipeline.errors import CohortError

FIELDS = ("patient", "phase", "class", "centre", "lesion")
_FIELD = re.compile(r"\{(\w*)\}")


def read_template(template: str) -> re.Pattern[str]:
    """Return a pattern for the paths of a template; a field that stands twice must be the same at both places.

    >>> read_template("{patient}/{patient}_{phase}.nii.gz").match("P1/P1_art.nii.gz").groupdict()
    {'patient': 'P1', 'phase': 'art'}

    Raises:
        CohortError: it has an unknown field.
    """
    parts, seen = [], set[str]()
    for i, part in enumerate(_FIELD.split(template)):
        if i % 2 == 0:
            parts.append(re.escape(part))
        elif part not in FIELDS:
            raise CohortError(
                f"template {template!r}: expected the fields {', '.join(FIELDS)}, found {part!r}"
            )
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>[^/]+?)")
            seen.add(part)
    return re.compile("".join(parts) + r"\Z")


def fields_in(pattern: re.Pattern[str], path: str) -> Mapping[str, str] | None:
    """Return the fields of a path; None where it does not fit."""
    found = pattern.match(path)
    return found and found.groupdict()
