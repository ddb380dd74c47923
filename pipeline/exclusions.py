"""excluded.csv of stage 1: whom and which phases it left out, with the reason; variants share one table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pipeline.cohort import Exclusion
from pipeline.tables import read_table, write_table

TABLE = "excluded.csv"
VARIANT = "variant"
"""The column that says in which variant; empty for what holds for all of them, or without variants."""
_COLUMNS = ("patient_id", "phase", "stage", "reason")
Entry = TypeVar("Entry")


def by_variant(entries: Mapping[str, Iterable[Entry]], names: Sequence[str]) -> Iterator[tuple[str, Entry]]:
    """Yield (variant, entry): "" for an entry that every variant has, else one for each that has it.

    Args:
        entries: variant -> what a table says of it.
        names: all variants of the configuration; one of which nothing is known has no entries.
    """
    found = {name: dict.fromkeys(entries.get(name, ())) for name in names}
    for entry in dict.fromkeys(entry for of_variant in found.values() for entry in of_variant):
        having = [name for name in names if entry in found[name]]
        yield from ((name, entry) for name in ([""] if len(having) == len(names) else having))


def write_exclusions(folder: Path, exclusions: Iterable[Exclusion]) -> None:
    """Write the table of bags without variants."""
    write_table(folder / TABLE, _COLUMNS, map(vars, exclusions))


def write_exclusions_of_variants(
    folder: Path, exclusions: Mapping[str, Iterable[Exclusion]], names: Sequence[str]
) -> None:
    """Write the table that the variants share, into the folder above theirs."""
    rows = ({**vars(one), VARIANT: name} for name, one in by_variant(exclusions, names))
    write_table(folder / TABLE, ("patient_id", "phase", VARIANT, "stage", "reason"), rows)


def read_exclusions(folder: Path) -> tuple[Exclusion, ...]:
    """Return whom stage 1 left out of the bags in a folder; empty where it wrote no table.

    The table of a variant lies in the folder above, with those of the others.
    """
    own, shared = folder / TABLE, folder.parent / TABLE
    if own.exists():
        rows = [row for row in read_table(own) if not row.get(VARIANT)]
    else:
        rows = read_table(shared) if shared.exists() else []
        rows = [row for row in rows if row.get(VARIANT) in ("", folder.name)]
    return tuple(Exclusion(*(row[column] for column in _COLUMNS)) for row in rows)
