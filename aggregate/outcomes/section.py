"""[aggregate.outcome]: what is predicted where `task` is not classification."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from pipeline.config import PlainName, Section

Task = Literal["classification", "survival", "regression", "ordinal"]
KEYS_OF: Mapping[Task, tuple[str, ...]] = {
    "classification": (),
    "survival": ("time", "event", "horizons"),
    "regression": ("column",),
    "ordinal": ("column", "order"),
}
"""Task -> keys of [aggregate.outcome] that it requires."""
OPTIONAL_KEYS_OF: Mapping[Task, tuple[str, ...]] = {"survival": ("risk_groups", "event_aliases")}


class OutcomeSection(Section):
    """[aggregate.outcome]: what is predicted where `task` is not classification."""

    time: str = ""
    """Survival: column of the time from the scan to the event, or to the last observation; a number above 0 in any unit."""
    event: str = ""
    """Survival: column that says whether the event has happened at that time: yes, true or 1, and no, false or 0."""
    event_aliases: Mapping[str, Literal["yes", "no"]] = {}
    """Further spellings in the column `event`, such as `dead = "yes"`; upper and lower case are the same."""
    horizons: tuple[float, ...] = ()
    """Survival: times, in the unit of `time`, at which survival is predicted and the models are measured; the last one is also
    where Uno's C-index is truncated."""
    risk_groups: int = Field(2, ge=2, le=3)
    """Survival: groups of equal size on the tune patients of each fold, by which the Kaplan-Meier curves are drawn."""
    column: str = ""
    """Regression and ordinal: column of the number or of the grade."""
    order: tuple[PlainName, ...] = ()
    """Ordinal: the grades as the column spells them, the lowest first."""

    @field_validator("horizons")
    @classmethod
    def _horizons_rise(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < value < float("inf") for value in values) or sorted(set(values)) != list(values):
            raise ValueError("expected times above 0, each later than the one before")
        if any(float(f"{value:g}") != value for value in values):
            raise ValueError("expected times of at most six digits, which name columns")
        return values

    @field_validator("order")
    @classmethod
    def _grades_differ(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        forms = [value.strip().lower() for value in values]
        if values and (len(values) < 2 or len(set(forms)) < len(forms) or not all(forms)):
            raise ValueError("expected at least two grades, each once")
        return values

    def faults(self, task: Task) -> list[str]:
        """Return what the table lacks for a task, and what it has that the task does not read."""
        known = (*KEYS_OF[task], *OPTIONAL_KEYS_OF.get(task, ()))
        lacking = [f"expected `{key}`, found none" for key in KEYS_OF[task] if not getattr(self, key)]
        usual = OutcomeSection()
        set_here = [name for name in type(self).model_fields if getattr(self, name) != getattr(usual, name)]
        return lacking + [f'`{key}` is not read with task = "{task}"' for key in set_here if key not in known]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the cohort table that say the outcome; no model may read them."""
        return tuple(name for name in (self.time, self.event, self.column) if name)
