"""The table of the patients' characteristics by reference class, of the report and of `paper`."""

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np

from aggregate.report.elements import Table, text
from aggregate.report.folder import ResultsFolder
from aggregate.report.settings_in_words import UNITS, words
from aggregate.tables.cohort import COHORT, SLICES_PREFIX
from aggregate.tables.rows import Row
from pipeline.covariates import Kind, Value, read_covariate

_IN_SIGHT = 40
"""Rows that the report shows without being asked: a reader must see every characteristic."""
_MOST_LEVELS = 6
_NO_CHARACTERISTIC = ("patient_id", "label", "phases_present", "phases_missing", "weights")
_Groups = Sequence[tuple[str, Sequence[Row]]]
"""A class, or `all`, and its patients."""


def characteristics(folder: ResultsFolder, rows: Sequence[Row]) -> Table:
    """Return what is known of the patients, a column for each class: median (quartiles), or number (share).

    Args:
        folder: names the classes in their order.
        rows: of cohort.csv, at least one.
    """
    groups = [
        *((name, [row for row in rows if row["label"] == name]) for name in folder.classes),
        ("all", list(rows)),
    ]
    cells = [["patients", *(str(len(group)) for _, group in groups)]]
    for column in rows[0]:
        if column in _NO_CHARACTERISTIC:
            continue
        cells += (_phase if column.startswith(SLICES_PREFIX) else _covariate)(column, groups)
    by = "reference class" if folder.task == "classification" else "what was observed"
    return Table(
        ("characteristic", *(name for name, _ in groups)),
        cells,
        f"Characteristics by {by}: median (first to third quartile), or number of patients (share of the class).",
        COHORT.file,
        n_first=_IN_SIGHT,
    )


def _phase(column: str, groups: _Groups) -> Iterator[list[str]]:
    """Yield who has the phase, and how many slices it has in those."""
    phase = column.removeprefix(SLICES_PREFIX)
    slices = [[float(row[column]) for row in group if row[column]] for _, group in groups]
    yield [
        f"{phase}: patients",
        *(_count(len(s), len(group)) for s, (_, group) in zip(slices, groups, strict=True)),
    ]
    yield [f"{phase}: slices of these", *(_median(Kind.NUMBER, of_group) for of_group in slices)]


def _covariate(column: str, groups: _Groups) -> Iterator[list[str]]:
    covariate = read_covariate(column, {row["patient_id"]: text(row[column]) for row in groups[-1][1]})
    told = [[covariate.values[row["patient_id"]] for row in group] for _, group in groups]
    levels, title = covariate.levels, _titled(column)
    if covariate.is_ordered and len(levels) > _MOST_LEVELS:
        yield [title, *(_median(covariate.kind, values) for values in told)]
    elif levels and len(levels) <= _MOST_LEVELS:
        for level in levels:
            counts = (_count(values.count(level), len(values)) for values in told)
            yield [f"{title}: {_level(covariate.kind, level)}", *counts]
    else:
        return
    if None in told[-1]:
        yield [f"{title}: not known", *(_count(values.count(None), len(values)) for values in told)]


def _titled(column: str) -> str:
    """Return the name of a column in words, its unit in brackets."""
    name, _, unit = column.rpartition("_")
    return f"{words(name)} ({unit})" if unit in (*UNITS, "ml") else words(column)


def _count(n: int, of: int) -> str:
    return f"{n} ({100 * n / of:.0f} %)" if of else str(n)


def _median(kind: Kind, values: Sequence[Value]) -> str:
    known = [value for value in values if isinstance(value, float)]
    if not known:
        return ""
    first, middle, third = (_level(kind, float(q), ".3g") for q in np.quantile(known, (0.25, 0.5, 0.75)))
    return f"{middle} ({first}–{third})"


def _level(kind: Kind, value: Value, digits: str = "g") -> str:
    if not isinstance(value, float):
        return str(value)
    return date.fromordinal(round(value)).isoformat() if kind is Kind.DATE else f"{value:{digits}}"
