"""The elements of the report page: figures, tables, paragraphs, sections."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from matplotlib.figure import Figure as Canvas

from aggregate.drawing import to_svg
from aggregate.statistics.intervals import NOT_ESTIMABLE
from aggregate.tables.rows import SMALLEST_P_VALUE, numeric
from pipeline.tables import TABLES


@dataclass(frozen=True)
class Figure:
    """A drawing."""

    name: str
    """File name in figures/, without ending."""
    drawing: Canvas | str
    """What the report draws; or the <svg> element of a figure that is already in figures/."""
    caption: str

    title: str = ""
    """Heading above the figure, if the section's title is not enough."""
    kind: Literal["figure"] = "figure"

    @property
    def is_drawn(self) -> bool:
        """Whether the report draws the figure; otherwise it is already in figures/."""
        return isinstance(self.drawing, Canvas)

    @cached_property
    def svg(self) -> str:
        """The <svg> element."""
        return self.drawing if isinstance(self.drawing, str) else to_svg(self.drawing, self.name)


@dataclass(frozen=True)
class Table:
    """A table of text cells."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    source: str
    """The CSV file that holds the rows."""
    emphasised: frozenset[int] = frozenset()
    """Rows to print in bold, from 0."""
    n_first: int = 12
    """Rows in sight; the others are behind a line that shows them all."""
    links: Sequence[str] = ()
    """Where the first cell of each row leads, relative to the page."""

    kind: Literal["table"] = "table"

    @property
    def place(self) -> str:
        """Where the source lies, relative to the page."""
        return f"{TABLES}/{self.source}" if self.source.endswith(".csv") else self.source


@dataclass(frozen=True)
class Note:
    """A paragraph; a warning stands out."""

    text: str
    is_warning: bool = False
    lead: str = ""
    """Bold words before the text."""

    kind: Literal["note"] = "note"


Element = Figure | Table | Note


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    id: str
    """Anchor, in lower case."""
    title: str
    reading: str
    """One or two sentences: which question the part answers and how to read it."""
    elements: Sequence[Element]
    folded: str = ""
    """Why the elements are behind a line that opens them; empty where they are in sight."""


METRIC_NAMES: Mapping[str, str] = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
"""Metrics in which models are compared, as they are printed."""
SMALLEST_SHOWN = 0.001
"""No p-value is shown as zero."""
NOTHING = "\N{EN DASH}"
"""Shown in an empty cell."""


def absent(what: str, why: str) -> Note:
    """Return a paragraph that states why a part is missing."""
    return Note(f"{what}: not available, since {why}.")


def interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """Format an estimate with its interval, such as "0.81 [0.74, 0.87]", the interval on one line."""
    if value is None:
        return "not estimable"
    if low is None or high is None:
        return signed(value, digits)
    return f"{signed(value, digits)} [{signed(low, digits)},\N{NO-BREAK SPACE}{signed(high, digits)}]"


def text(value: object) -> str:
    """Format a value of a row as it is; empty where there is none."""
    return "" if value is None else str(value)


def cell(
    row: Mapping[str, Any] | None,
    columns: tuple[str, str, str] = ("estimate", "ci_low", "ci_high"),
    *,
    digits: int = 2,
) -> str:
    """Format the estimate of a row with its interval; a dash where there is no such row."""
    if row is None:
        return NOTHING
    value, low, high = (numeric(row[column]) for column in columns)
    return interval(value, low, high, digits)


def p_text(value: object) -> str:
    """Format a p-value, never as zero; empty where there is none."""
    p = numeric(value)
    if p is None:
        return ""
    if p < SMALLEST_P_VALUE:
        return f"<{SMALLEST_P_VALUE}"
    return f"{p:.3f}" if p >= SMALLEST_SHOWN else f"<{SMALLEST_SHOWN}"


def reasons(rows: Iterable[Mapping[str, Any] | None]) -> str:
    """Return, for the end of a caption, why some rows have no estimate or no interval; empty if all have both."""
    found = dict.fromkeys(row["ci_method"] for row in rows if row and NOT_ESTIMABLE in row["ci_method"])
    return f" Where a number or an interval is missing: {'; '.join(found)}." if found else ""


def signed(value: float, digits: int) -> str:
    """Format a number with a true minus sign, and none before a zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")
