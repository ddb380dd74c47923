"""The outcome of patients that models are trained on, typed, and the groups that folds keep even.

survival    (event, time) of each patient      groups: censored, event; folds even also in the thirds of the times
regression  a number                           one group; folds even in the fifths of the numbers
ordinal     the code of a grade                the grades
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.section import OutcomeSection, Task

Values = NDArray[Any]
SURVIVAL_TYPE = np.dtype([("event", np.bool_), ("time", np.float64)])
"""As scikit-survival takes it."""
RISK, SURVIVAL_PREFIX, PREDICTED, PROBABILITY_PREFIX = "risk", "survival_", "predicted", "p_"
CENSORED, EVENT = "censored", "event"
_BINS = {"survival": 3, "regression": 5, "ordinal": 1}
"""Parts of equal size by time or number that the folds keep even within a group, where it has patients enough."""
_STEPS_TO_LAST_HORIZON = 10


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcomes of n patients.

    Attributes:
        task: what is predicted.
        values: of survival a structured array (n,) of event and time; else the number, or the code of the grade.
        groups: names of the groups that the folds keep even.
        codes: intp (n,), index into the groups.
        columns: what every model says of a patient, by name.
        section: [aggregate.outcome].
    """

    task: Task
    values: Values
    groups: tuple[str, ...]
    codes: NDArray[np.intp]
    columns: tuple[str, ...]
    section: OutcomeSection

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, task: Task, values: Values, section: OutcomeSection) -> Self:
        """Make the outcome of patients of their values."""
        groups, codes = _groups(task, values, section)
        return cls(task, values, groups, codes, columns_of(task, section), section)

    def fine_codes(self, folds: int) -> tuple[NDArray[np.intp], tuple[str, ...]]:
        """Return code and names of finer groups: by time or number within a group, each with two patients a fold at least."""
        codes, names = np.zeros_like(self.codes), list[str]()
        for group, name in enumerate(self.groups):
            members = np.flatnonzero(self.codes == group)
            n_bins = max(1, min(_BINS[self.task], len(members) // (2 * folds)))
            ranks = np.argsort(np.argsort(self._ordering[members], kind="stable"), kind="stable")
            codes[members] = len(names) + ranks * n_bins // max(1, len(members))
            names += [
                f"{name}, part {number + 1} of {n_bins}" if n_bins > 1 else name for number in range(n_bins)
            ]
        return codes, tuple(names)

    @property
    def _ordering(self) -> NDArray[np.float64]:
        return np.asarray(self.values["time"] if self.task == "survival" else self.values, dtype=np.float64)


def _groups(task: Task, values: Values, section: OutcomeSection) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    if task == "survival":
        return (CENSORED, EVENT), values["event"].astype(np.intp)
    if task == "ordinal":
        return section.order, values.astype(np.intp)
    return (section.column,), np.zeros(len(values), dtype=np.intp)


def columns_of(task: Task, section: OutcomeSection) -> tuple[str, ...]:
    """Return the names of what a model says of a patient."""
    if task == "survival":
        return (RISK, *(survival_column(time) for time in times_of(section)))
    if task == "ordinal":
        return tuple(f"{PROBABILITY_PREFIX}{grade}" for grade in section.order)
    return (PREDICTED,)


def times_of(section: OutcomeSection) -> tuple[float, ...]:
    """Return the times at which survival is predicted: the horizons, and ten even steps to the last of them."""
    last = section.horizons[-1]
    steps = [last * step / _STEPS_TO_LAST_HORIZON for step in range(1, _STEPS_TO_LAST_HORIZON + 1)]
    by_name = {survival_column(time): time for time in (*steps, *section.horizons)}
    return tuple(sorted(by_name.values()))


def survival_column(time: float) -> str:
    """Return the name of the probability to have no event until a time."""
    return f"{SURVIVAL_PREFIX}{time:g}"


def survival_values(event: Sequence[bool], time: Sequence[float]) -> Values:
    """Return times and events as one structured array (n,)."""
    values = np.empty(len(time), dtype=SURVIVAL_TYPE)
    values["event"], values["time"] = event, time
    return values
