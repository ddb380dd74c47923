"""A results folder as the report reads it: tables that may be absent, and what run.json says of the run."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import ResultsError
from pipeline.tables import TableStyle, number_in, read_table

Row = Mapping[str, str]


class ResultsFolder:
    """Reads each table once; a table that is not there has no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: dict[str, list[dict[str, str]]] = {}

    @cached_property
    def run(self) -> Mapping[str, Any]:
        """What run.json says.

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
    def style(self) -> TableStyle:
        """Separator and decimal sign of the tables."""
        tables = self.settings("aggregate", "tables")
        return TableStyle(tables.get("separator", ","), tables.get("decimal", "."))

    def settings(self, *keys: str) -> Mapping[str, Any]:
        """Return a table of the configuration of the run, empty where it has none."""
        table: Any = self.run.get("config", {})
        for key in keys:
            table = table.get(key) if isinstance(table, Mapping) else None
        return table if isinstance(table, Mapping) else {}

    def rows(self, name: str, **where: str) -> list[dict[str, str]]:
        """Return the rows of a table whose cells equal `where`."""
        if name not in self._tables:
            path = self.path / name
            self._tables[name] = read_table(path, style=self.style) if path.exists() else []
        return [row for row in self._tables[name] if all(row.get(k) == v for k, v in where.items())]

    def number(self, cell: str | None) -> float | None:
        """Return the number in a cell, or None for an empty cell or words such as "not estimable"."""
        return number_in(cell or "")

    @cached_property
    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        """Bag set -> what made its features; a run of an earlier release had one set."""
        recipes: Mapping[str, Mapping[str, Any]] = self.run.get("recipes") or {"": self.run.get("recipe", {})}
        return recipes

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the configuration."""
        return tuple(self.settings("cohort").get("classes") or distinct(self.rows("cohort.csv"), "label"))

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Phase names in the order of the configuration."""
        return tuple(self.settings("cohort").get("phases", ()))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Models of the configuration, the best macro AUC first."""
        named = self.settings("aggregate", "model")
        return tuple(model for model in self.ranking if model in named) or self.ranking

    @cached_property
    def baselines(self) -> tuple[str, ...]:
        """Models that run beside, the best macro AUC first."""
        return tuple(model for model in self.ranking if model not in self.models)

    @cached_property
    def ranking(self) -> tuple[str, ...]:
        """All models, the best macro AUC first."""
        rows = self.rows("performance.csv", **{"class": "macro", "metric": "auc"})
        return tuple(
            row["model"] for row in sorted(rows, key=lambda row: -(self.number(row["estimate"]) or 0.0))
        )

    @cached_property
    def explained_model(self) -> str | None:
        """The model that was chosen beforehand to be explained: the first of every table of explanations."""
        rows = self.rows("slice_votes.csv")
        return rows[0]["model"] if rows else None


def is_true(cell: str) -> bool:
    """Say whether a cell means yes, also after a spreadsheet has saved it."""
    return cell.lower() in ("true", "yes", "1")


def distinct(rows: Sequence[Row], column: str) -> list[str]:
    """Return the values of a column in the order of their first row."""
    return list(dict.fromkeys(row[column] for row in rows))
