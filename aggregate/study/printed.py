"""The leaderboard as it is printed after a study."""

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.selection import HALVED, PICKED, SELECTION
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row, numeric
from pipeline.run_log import say, say_table

_MOST_ROWS = 15


def print_leaderboard(tables: ResultTables, name: str, console: Console) -> None:
    """Print the first rows of the leaderboard, the honest estimate of picking the best, and the folder.

    Of a study within a budget, which has no leaderboard, print what was picked how often.
    """
    if not tables.holds(LEADERBOARD):
        _print_halving(tables, name, console)
        return
    rows = tables.read(LEADERBOARD)
    ranked = [row for row in rows if row["rank"] is not None]
    title = (
        f"{name}: {len(ranked)} configurations, macro AUC [{tables.level} CI], weights {rows[0]['weights']}"
    )
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for column in ("rank", "configuration", "macro AUC", "seconds a fit"):
        table.add_column(column, no_wrap=True)
    for row in ranked[:_MOST_ROWS]:
        seconds = numeric(row["fit_s"])
        table.add_row(str(row["rank"]), row["model"], _told(row), "" if seconds is None else f"{seconds:.2f}")
    say_table(console, table)
    lines = [f"{len(ranked) - _MOST_ROWS} more in {LEADERBOARD.location}"] if len(ranked) > _MOST_ROWS else []
    (picked,) = [row for row in tables.read(SELECTION) if row["what"] == PICKED]
    lines += [
        f"Picked on the tune patients of each fold, as a reader should expect: {_told(picked)}",
        f"Results: {tables.folder}",
    ]
    for line in lines:
        say(console, line)


def _print_halving(tables: ResultTables, name: str, console: Console) -> None:
    rows = tables.read(HALVING_SUMMARY)
    tried = [row for row in rows if row["rank"] is not None]
    title = f"{name}: {len(tried)} of {len(rows)} configurations tried, weights {rows[0]['weights']}"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for column in ("rank", "configuration", "picked", "mean rung", "seconds in a fold"):
        table.add_column(column, no_wrap=True)
    for row in tried[:_MOST_ROWS]:
        picked = f"{row['n_picked']} of {row['n_folds']}"
        table.add_row(str(row["rank"]), row["model"], picked, f"{row['rung']:.1f}", f"{row['seconds']:.2f}")
    say_table(console, table)
    (halved,) = [row for row in tables.read(SELECTION) if row["what"] == HALVED]
    lines = [
        f"Macro AUC [{tables.level} CI] of what each fold picked, as a reader should expect: {_told(halved)}",
        f"Results: {tables.folder}",
    ]
    for line in lines:
        say(console, line)


def _told(row: Row) -> str:
    value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
    if value is None:
        return str(row["estimate"])
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
