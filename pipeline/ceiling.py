"""The ceiling of a synthetic cohort: what an observer reaches who knows how it was drawn.

Stage 1 writes it beside the cohort table that it drew, and the report of stage 2 tells it beside what was found. It holds
the SHA-256 of that table, so that it is told of no other cohort.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file

CEILING = "ceiling.json"


@dataclass(frozen=True)
class Ceiling:
    """What an observer reaches on the patients of one cohort table.

    Attributes:
        observer: what the observer knows, to follow "an observer who".
        n_patients: patients of the table.
        auc: `macro` and each class -> AUC, one against the rest.
    """

    observer: str
    n_patients: int
    auc: Mapping[str, float]


def write_ceiling(table: Path, ceiling: Ceiling) -> None:
    """Write the ceiling of the cohort of a table beside it."""
    content = {**asdict(ceiling), "cohort_sha256": sha256_of_file(table)}
    with written_whole(table.with_name(CEILING)) as sibling:
        sibling.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def was_drawn(table: Path) -> bool:
    """Return whether a ceiling lies beside a cohort table: its patients were drawn, whatever became of the table since."""
    return table.with_name(CEILING).is_file()


def read_ceiling(table: Path) -> Ceiling | None:
    """Return the ceiling of the cohort of a table; None where there is none, as of real patients, or the table is another."""
    try:
        content: dict[str, Any] = json.loads(table.with_name(CEILING).read_text(encoding="utf-8"))
        if content.pop("cohort_sha256") != sha256_of_file(table):
            return None
        return Ceiling(**content)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
