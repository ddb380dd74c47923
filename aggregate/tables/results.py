"""The tables of a results folder: where they lie, how they are written, and how they are read back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from aggregate.config import AggregateSection
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.rows import Row, printable, read_row
from aggregate.tables.table import WEIGHTS, Names, Table
from pipeline.tables import TableStyle, read_columns, read_lines, write_table

USUAL_CONFIDENCE: float = StatisticsSection.model_fields["confidence"].default


def percent(confidence: float) -> str:
    """Say a level in words: 0.95 is "95 %"."""
    return f"{100 * confidence:g} %"


@dataclass(frozen=True)
class ResultTables:
    """Writes and reads the tables of one results folder; what is read is what was written, to the printed digits."""

    folder: Path
    separator: str = ","
    """Between cells: `,`, or `;` for spreadsheets of such a locale."""
    decimal: str = "."
    byte_order_mark: bool = False
    """Whether each file begins with one, by which Excel knows that it is UTF-8."""
    confidence: float = USUAL_CONFIDENCE
    """Level of the intervals, as the explanations of the columns tell it."""
    weights: str | None = None
    """The weights that the numbers rest on, named in every row; None leaves the column out."""

    @classmethod
    def of_settings(cls, folder: Path, settings: AggregateSection, *, weights: str | None) -> Self:
        """Return the tables as a configuration wants them."""
        return cls.of_record(folder, {"config": {"aggregate": settings.model_dump()}, "weights": weights})

    @classmethod
    def of_record(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        """Return the tables as the run of a run.json wrote them; what it does not say is as usual."""
        settings = (record.get("config") or {}).get("aggregate") or {}
        style, statistics = (settings.get(name) or {} for name in ("tables", "statistics"))
        return cls(
            folder,
            separator=style.get("separator", ","),
            decimal=style.get("decimal", "."),
            byte_order_mark=style.get("byte_order_mark", False),
            confidence=statistics.get("confidence", USUAL_CONFIDENCE),
            weights=record.get("weights"),
        )

    def within(self, folder: Path) -> Self:
        """Return the same tables in another folder."""
        return replace(self, folder=folder)

    @property
    def level(self) -> str:
        """The level of the intervals in words, such as "95 %"."""
        return percent(self.confidence)

    def path(self, table: Table) -> Path:
        """Return where the CSV of a table lies."""
        return self.folder / table.location

    def holds(self, table: Table) -> bool:
        """Say whether the folder has the table."""
        return self.path(table).exists()

    def write(self, table: Table, rows: Iterable[Mapping[str, Any]], names: Names | None = None) -> None:
        """Write the CSV of a table, whole or not at all, with the weights in its last column.

        Args:
            table: what to write.
            rows: column -> value, in the order of the file.
            names: what the patterns among the columns stand for.

        Raises:
            ResultsError: a row has a column that the table has not, or lacks one.
        """
        columns, written = table.header(names), printable(table, rows)
        if table.names_weights and self.weights is not None:
            columns = [*columns, WEIGHTS.name]
            written = [{**row, WEIGHTS.name: self.weights} for row in written]
        write_table(self.path(table), columns, written, style=self._style(table))

    def read(self, table: Table) -> list[Row]:
        """Read the rows of a table, also after a spreadsheet has saved it again.

        Raises:
            ResultsError: the file is missing or damaged, or a cell does not hold what its column holds; later, when a
                column is asked for that the file lacks.
        """
        path, style = self.path(table), self._style(table)
        known = {name: table.column(name) for name in read_columns(path, style=style)}
        kinds = {name: column.kind for name, column in known.items() if column}
        return [read_row(path, line, kinds) for line in read_lines(path, style=style)]

    def header(self, table: Table) -> list[str]:
        """Read the names of the columns that the file of a table has.

        Raises:
            ResultsError: the file is missing or empty.
        """
        return read_columns(self.path(table), style=self._style(table))

    def explained(self, table: Table, name: str) -> tuple[str, str] | None:
        """Return meaning and unit of a column of a file; None for one that somebody has added."""
        column = table.column(name)
        return (column.meaning.replace("<confidence>", self.level), column.unit) if column else None

    @property
    def style(self) -> TableStyle:
        """Separator and decimal sign, of files that are no result tables."""
        return TableStyle(self.separator, self.decimal)

    def _style(self, table: Table) -> TableStyle:
        return TableStyle(self.separator, self.decimal, table.digits, self.byte_order_mark)
