"""What the outcomes of a synthetic cohort were drawn from: the ceiling of survival, grade and number.

Stage 1 writes it beside the cohort table that it drew, and stage 2 tells it beside what its models reach. It holds the SHA-256
of that table, so that it is told of no other cohort.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file

DRAWN_OUTCOMES = "drawn_outcomes.json"


@dataclass(frozen=True)
class DrawnSurvival:
    """Times to the event that were drawn from S(t) = exp(-(t / scale)^shape exp(log_hazard)).

    Attributes:
        time: column of the cohort table.
        event: column of the cohort table.
        shape: of Weibull's distribution.
        scale: of it, in the unit of the times.
        log_hazard: patient -> logarithm of the drawn hazard ratio.
    """

    time: str
    event: str
    shape: float
    scale: float
    log_hazard: Mapping[str, float]


@dataclass(frozen=True)
class DrawnGrade:
    """Grades that were drawn with these probabilities.

    Attributes:
        column: of the cohort table.
        order: the grades, the lowest first.
        probabilities: patient -> probability of each grade.
    """

    column: str
    order: Sequence[str]
    probabilities: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class DrawnNumber:
    """Numbers that were drawn about these means.

    Attributes:
        column: of the cohort table.
        mean: patient -> mean.
    """

    column: str
    mean: Mapping[str, float]


@dataclass(frozen=True)
class DrawnOutcomes:
    """What an observer knows who knows everything but chance."""

    survival: DrawnSurvival
    grade: DrawnGrade
    number: DrawnNumber


def write_drawn_outcomes(table: Path, drawn: DrawnOutcomes) -> None:
    """Write beside a cohort table what its outcomes were drawn from."""
    content = {**asdict(drawn), "cohort_sha256": sha256_of_file(table)}
    with written_whole(table.with_name(DRAWN_OUTCOMES)) as sibling:
        sibling.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_drawn_outcomes(table: Path) -> DrawnOutcomes | None:
    """Return what the outcomes of a table were drawn from; None of real patients, and where the table is another one."""
    try:
        content: dict[str, Any] = json.loads(table.with_name(DRAWN_OUTCOMES).read_text(encoding="utf-8"))
        if content.pop("cohort_sha256") != sha256_of_file(table):
            return None
        return DrawnOutcomes(
            DrawnSurvival(**content["survival"]),
            DrawnGrade(**content["grade"]),
            DrawnNumber(**content["number"]),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
