"""All result tables, collected from the modules that make their rows."""

import pkgutil
from functools import cache
from importlib import import_module

from aggregate.tables.table import Step, Table

_ROOMS = (
    "aggregate.tables",
    "aggregate.explain",
    "aggregate.study",
    "aggregate.report",
    "aggregate.outcomes.tables",
)
"""Packages whose modules hold tables: a `Table` with a name in one of them is a table of the results."""


@cache
def all_tables() -> tuple[Table, ...]:
    """Return every table, in the order of columns.csv and results/README.md."""
    found: dict[str, Table] = {}
    for room in map(import_module, _ROOMS):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            held = vars(import_module(module.name)).values()
            found |= {value.file: value for value in held if isinstance(value, Table)}
    return tuple(sorted(found.values(), key=lambda table: (table.place, table.file)))


def written_by(*steps: Step) -> list[Table]:
    """Return the tables that some steps write, in their order."""
    return [table for table in all_tables() if table.step in steps]
