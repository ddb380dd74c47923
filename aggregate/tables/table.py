"""The definition of a result table in one place: its file, and its columns with meaning, unit and kind.

A `Table` stands in the module that makes its rows. `aggregate.tables.registry` finds it there, so that files, readers,
columns.csv and results/README.md follow from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from pipeline.tables import TABLES

Names = Mapping[str, Sequence[str]]
"""What `class`, `phase` and `covariate` stand for in the names of columns."""


class Kind(Enum):
    """What the cells of a column hold; the value says it to a reader.

    Every kind but TEXT may be empty: None, as NaN is. TEXT is empty as "".
    """

    TEXT = "text"
    COUNT = "a whole number from 0"
    COUNT_OR_ALL = "a whole number from 0, or 'all'"
    NUMBER = "a number"
    PROBABILITY = "a probability from 0 to 1"
    ESTIMATE = "a number or 'not estimable'"
    P_VALUE = "a p-value, '<0.0001' or 'not estimable'"
    YES_NO = "yes or no"


class Step(Enum):
    """What writes a table."""

    RUN = "every run"
    NULL = "`run --null`"
    FUSION = "`run` with a table [aggregate.fusion]"
    EXPLANATIONS = "`run` unless `explain = false`, and `explain`"
    REPORT = "the report, and columns.csv before it"
    STUDY = "`study`"
    OUTCOME = "`run` with a task other than classification"
    COMPARE = "`compare --output`"


@dataclass(frozen=True)
class Column:
    """One column, or one for every class, phase or covariate where the name is a pattern such as `p_<class>`."""

    name: str
    meaning: str
    """In words; `<confidence>` stands for the level of the intervals."""
    unit: str = ""
    """Unit or range; empty for words and counts from 0."""
    kind: Kind = Kind.TEXT

    def expanded(self, names: Names) -> list[str]:
        """Return the columns that the name stands for."""
        for placeholder, values in names.items():
            if f"<{placeholder}>" in self.name:
                return [self.name.replace(f"<{placeholder}>", value) for value in values]
        return [self.name]

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for several columns."""
        return "<" in self.name

    def may_be(self, name: str) -> bool:
        """Say whether a pattern may stand for a column of this name."""
        before, _, rest = self.name.partition("<")
        return name.startswith(before) and name.endswith(rest.partition(">")[2])


WEIGHTS = Column("weights", "Weights of the encoder that computed the features")
"""The column at the end of every row."""


@dataclass(frozen=True, eq=False)
class Table:
    """One CSV file of a results folder."""

    file: str
    one_row_per: str
    columns: tuple[Column, ...]
    place: int
    """Tables stand in this order in columns.csv and results/README.md."""
    step: Step = Step.RUN
    notes: str = ""
    """What a reader must know beside the columns."""
    words: tuple[str, Mapping[str, str]] | None = None
    """A column whose words need explaining, and word -> meaning."""
    names_weights: bool = True
    """Whether every row names the weights that it rests on."""
    digits: int = 6
    """Decimals of a number."""

    @property
    def location(self) -> str:
        """Where the file lies, relative to the results folder."""
        return f"{TABLES}/{self.file}"

    def header(self, names: Names | None = None) -> list[str]:
        """Return the names of the columns, patterns spelled out."""
        return [name for column in self.columns for name in column.expanded(names or {})]

    def column(self, name: str) -> Column | None:
        """Return what a column of the file is; None for one that somebody has added."""
        if name in self._plain:
            return self._plain[name]
        return next((column for column in self.columns if column.is_pattern and column.may_be(name)), None)

    @cached_property
    def _plain(self) -> Mapping[str, Column]:
        own = {column.name: column for column in self.columns if not column.is_pattern}
        return {**own, WEIGHTS.name: WEIGHTS} if self.names_weights else own
