"""A cohort of sixty bags with outcomes that hang on the arterial signal of the bags, and a run on it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.tables import read_table
from tests.conftest import CLASSES

ORDER = ("G1", "G2", "G3")


def outcome_cells(label: int, number: int) -> Mapping[str, object]:
    """The later the class, the earlier the event; a third of the patients is censored; grade and score go with the class."""
    rng = np.random.default_rng([7, number])
    months, left = rng.exponential(40 / 3**label), rng.uniform(10, 60)
    grade = min(2, max(0, label + int(rng.integers(-1, 2)) * int(rng.random() < 0.3)))
    return {
        "months": f"{max(0.1, min(months, left)):.1f}",
        "died": int(months <= left),
        "grade": ORDER[grade],
        "score": f"{10 * label + rng.normal():.2f}",
    }


TASKS: Mapping[str, str] = {
    "survival": 'task = "survival"\n[aggregate.outcome]\ntime = "months"\nevent = "died"\nhorizons = [6, 12]\n',
    "regression": 'task = "regression"\n[aggregate.outcome]\ncolumn = "score"\n',
    "ordinal": 'task = "ordinal"\n[aggregate.outcome]\ncolumn = "grade"\norder = ["G1", "G2", "G3"]\n',
}
QUICK = "jobs = 1\n"
REST = """
[aggregate.splits]
folds = 2
repeats = 2
[aggregate.statistics]
draws = 100
[aggregate.figures]
formats = ["svg"]
"""


def configuration(task: str, models: str, *, keys: str = "") -> str:
    return f"[aggregate]\n{keys}{QUICK}{TASKS[task]}{REST}{models}"


def add_outcomes(table: Path, change: Callable[[str, dict[str, object]], None] | None = None) -> None:
    """Add the columns of the outcomes to a cohort table, changed by patient where a function is given."""
    rows = [dict(row) for row in read_table(table)]
    names = list(dict.fromkeys(row["patient_id"] for row in rows))
    known: dict[str, dict[str, object]] = {}
    for number, name in enumerate(names):
        label = next(row["label"] for row in rows if row["patient_id"] == name)
        known[name] = dict(outcome_cells(CLASSES.index(label), number))
        if change is not None:
            change(name, known[name])
    columns = [*rows[0], *next(iter(known.values()))]
    lines = [",".join(columns)]
    lines += [",".join(str({**row, **known[row["patient_id"]]}[c]) for c in columns) for row in rows]
    table.write_text("\n".join(lines) + "\n")


@pytest.fixture
def outcome_folder(experiment_folder) -> Callable[..., Path]:
    """Return a function that writes an experiment of a task into the test's own folder."""

    def write(text: str, change: Callable[[str, dict[str, object]], None] | None = None) -> Path:
        path: Path = experiment_folder(text)
        add_outcomes(path.parent / "cohort.csv", change)
        return path

    return write
