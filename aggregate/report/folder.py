"""A results folder as the report reads it: tables, which may be missing, and the record of the run in run.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aggregate.config import FiguresSection
from aggregate.explain.votes import SLICE_VOTES
from aggregate.outcomes.section import Task
from aggregate.planning.baselines import WITHOUT_IMAGE
from aggregate.predictions import Predictions
from aggregate.run_folder.run_record import CEILING, SYNTHETIC
from aggregate.tables.cohort import COHORT
from aggregate.tables.comparisons import COMPARISONS
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.predictions import PREDICTIONS, read_predictions
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row, numeric
from aggregate.tables.table import Table
from pipeline.errors import ResultsError


@dataclass(frozen=True)
class ShownModel:
    """The model that the report shows throughout."""

    name: str
    rule: str
    """How it was chosen, in words."""
    is_declared: bool
    """Whether it was chosen before the results were known."""
    is_best_of_several: bool = False
    """Whether it was found best on the patients that it is measured on."""


class ResultsFolder:
    """Reads each table once; a missing table has no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[Table, list[Row]] = {}

    @cached_property
    def run(self) -> Mapping[str, Any]:
        """The content of run.json.

        Raises:
            ResultsError: there is no run.json, or it is no JSON.
        """
        path = self.path / "run.json"
        try:
            record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ResultsError(f"{path}: expected the record of a run, found none: {error}") from error
        return record

    @cached_property
    def predictions(self) -> Predictions | None:
        """The out-of-fold predictions; None if the folder has none."""
        return read_predictions(self.tables) if self.tables.holds(PREDICTIONS) else None

    @cached_property
    def tables(self) -> ResultTables:
        """The tables beside the page, written as the run wrote them."""
        return ResultTables.of_record(self.path, self.run)

    @property
    def level(self) -> str:
        """The level of the intervals in words, such as "95 %"."""
        return self.tables.level

    def settings(self, *keys: str) -> Mapping[str, Any]:
        """Return a table of the configuration of the run, empty where it has none."""
        table: Any = self.run.get("config", {})
        for key in keys:
            table = table.get(key) if isinstance(table, Mapping) else None
        return table if isinstance(table, Mapping) else {}

    @cached_property
    def figures(self) -> FiguresSection:
        """How figures are written; those of a run of an earlier release as is usual."""
        return FiguresSection.model_validate(self.settings("aggregate", "figures"))

    def rows(self, table: Table, **where: object) -> list[Row]:
        """Return the rows of a table whose values equal `where`."""
        if table not in self._rows:
            self._rows[table] = self.tables.read(table) if self.tables.holds(table) else []
        return [row for row in self._rows[table] if all(row.get(k) == v for k, v in where.items())]

    @cached_property
    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        """Bag set -> what made its features; a run of an earlier release had one set."""
        recipes: Mapping[str, Mapping[str, Any]] = self.run.get("recipes") or {"": self.run.get("recipe", {})}
        return recipes

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the configuration."""
        if self.task != "classification":
            return tuple(distinct(self.rows(COHORT), "label"))
        return tuple(self.settings("cohort").get("classes") or distinct(self.rows(COHORT), "label"))

    @cached_property
    def task(self) -> Task:
        """What was predicted."""
        task: Task = self.settings("aggregate").get("task", "classification")
        return task

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Phase names in the order of the configuration."""
        return tuple(self.settings("cohort").get("phases", ()))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Models of the configuration that see images, the best macro AUC first."""
        named = self.settings("aggregate", "model")
        seeing = tuple(model for model in self.ranking if model not in self.baselines)
        return tuple(model for model in seeing if model in named)

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """Plain comparators on the same images that the run added, such as one phase alone, the best macro AUC first."""
        return tuple(m for m in self.ranking if m not in self.models and m not in self.baselines)

    @cached_property
    def baselines(self) -> tuple[str, ...]:
        """Models that see no features of images, the best macro AUC first."""
        named = self.settings("aggregate", "model")
        kinds = {model: named.get(model, {}).get("kind", model) for model in self.ranking}
        return tuple(model for model, kind in kinds.items() if kind in WITHOUT_IMAGE)

    @cached_property
    def ranking(self) -> tuple[str, ...]:
        """All models, the best macro AUC first."""
        rows = self.macro_auc
        return tuple(sorted(rows, key=lambda model: -(numeric(rows[model]["estimate"]) or 0.0)))

    @cached_property
    def macro_auc(self) -> Mapping[str, Row]:
        """Model or baseline -> the row of its macro AUC."""
        return {row["model"]: row for row in self.rows(PERFORMANCE, **{"class": "macro", "metric": "auc"})}

    @cached_property
    def primary(self) -> Row | None:
        """The comparison that was declared before the results."""
        return next((row for row in self.rows(COMPARISONS) if row["primary"]), None)

    @cached_property
    def shown(self) -> ShownModel | None:
        """The model that every section shows."""
        declared, models = self.settings("aggregate").get("explained_model"), self.models
        pair = str(self.primary["model_a"]) if self.primary else ""
        best = "the highest macro AUC on these patients" if len(models) > 1 else "the only model of images"
        chosen = (
            ShownModel(str(declared or ""), "declared before the results", is_declared=True),
            ShownModel(pair, "of the primary comparison", is_declared=True),
            ShownModel(self.explained_model or "", "the first model of the configuration with attention", is_declared=True),
            ShownModel(next(iter(models), ""), best, is_declared=len(models) == 1, is_best_of_several=len(models) > 1),
            ShownModel(next(iter(self.ranking), ""), "the highest macro AUC: no model of images was configured",
                       is_declared=False, is_best_of_several=True),
        )  # fmt: skip
        return next((of for of in chosen if of.name in self.ranking), None)

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """The shown model, then those of the primary comparison: what the figures that compare show."""
        pair = (str(self.primary["model_a"]), str(self.primary["model_b"])) if self.primary else ()
        names = ((self.shown.name,) if self.shown else ()) + pair
        return tuple(name for name in dict.fromkeys(names) if name in self.ranking)

    @property
    def is_synthetic(self) -> bool:
        """Whether the patients were drawn by `extract.py phantom`."""
        return bool(self.run.get(SYNTHETIC) or self.run.get(CEILING))

    @cached_property
    def explained_model(self) -> str | None:
        """The model that was chosen beforehand to be explained: the first of every table of explanations."""
        rows = self.rows(SLICE_VOTES)
        return str(rows[0]["model"]) if rows else None


def distinct(rows: Sequence[Row], column: str) -> list[Any]:
    """Return the values of a column in the order of their first row."""
    return list(dict.fromkeys(row[column] for row in rows))
