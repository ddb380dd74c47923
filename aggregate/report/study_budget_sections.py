"""The section on a study within a budget: what was searched, and what it is worth."""

from collections.abc import Sequence

from aggregate.planning.study_budget import NOT_TRIED
from aggregate.report.elements import Element, Note, Section, Table, absent, cell, reasons
from aggregate.report.folder import ResultsFolder
from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.selection import HALVED, SELECTION
from aggregate.tables.rows import numeric

_MOST_ROWS = 15


def budget_section(folder: ResultsFolder) -> Section:
    """Return what successive halving found in a study within a budget."""
    return Section(
        "budget",
        "Searched within a budget",
        "Which configuration is best, as far as the time of the study went? Each fold searched by successive halving within its "
        "training patients, so that its test patients judge the whole search.",
        _elements(folder),
    )


def _elements(folder: ResultsFolder) -> list[Element]:
    rows = folder.rows(HALVING_SUMMARY)
    if not rows:
        return [absent("A search within a budget", f"{HALVING_SUMMARY.file} is missing")]
    tried = [row for row in rows if row["rank"] is not None]
    picked = [row for row in folder.rows(SELECTION) if row["what"] == HALVED]
    told = f"Macro AUC of what each fold picked: {cell(picked[0])} ({folder.level} CI). " if picked else ""
    left_out = len(rows) - len(tried)
    told += f"{len(tried)} of {len(rows)} configurations were tried."
    if left_out:
        told += f" {left_out} were drawn out for want of time ({NOT_TRIED}); the best one may be among them."
    return [Note(told), *searched_tables(folder)]


def searched_tables(folder: ResultsFolder) -> Sequence[Table]:
    """Return what the folds picked, and what the search is worth; nothing of a folder without a search."""
    tried = [row for row in folder.rows(HALVING_SUMMARY) if row["rank"] is not None]
    if not tried:
        return ()
    shown = [
        [
            str(row["rank"]),
            row["model"],
            f"{row['n_picked']} of {row['n_folds']}",
            *(_number(row[name], digits) for name, digits in (("rung", 1), ("score", 3), ("seconds", 1))),
        ]
        for row in tried[:_MOST_ROWS]
    ]
    selection = folder.rows(SELECTION)
    estimates = [[row["what"], row["model"], cell(row)] for row in selection]
    columns = ("rank", "configuration", "picked", "mean rung", "score on it", "seconds in a fold")
    return [
        Table(
            columns,
            shown,
            "What the folds picked, by how often; rungs from 1, the lowest.",
            HALVING_SUMMARY.file,
        ),
        Table(
            ("what", "model", f"macro AUC [{folder.level} CI]"),
            estimates,
            f"The search as a whole, beside the baselines.{reasons(selection)}",
            SELECTION.file,
        ),
    ]


def _number(value: object, digits: int) -> str:
    number = numeric(value)
    return "" if number is None else f"{number:.{digits}f}"


SECTIONS = (budget_section,)
