"""What a run says on the screen when it is done: the performance table and where the results lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.bags import RANDOM_BANNER
from pipeline.tables import TableStyle, read_table

_SHOWN = (("macro", "auc"), ("macro", "balanced_accuracy"))


def print_summary(folder: Path, console: Console, style: TableStyle) -> None:
    """Print macro AUC, balanced accuracy and per-class AUC of every model, and the folder of the tables."""
    rows = read_table(folder / "performance.csv", style=style)
    weights = rows[0]["weights"]
    if weights.startswith(RANDOM_BANNER):
        console.print(f"{weights}: the encoder is untrained; these figures say nothing about patients")
    console.print(
        _performance_table(rows, f"{folder.name}: out-of-fold performance (95 % CI), weights {weights}")
    )
    excluded = read_table(folder / "excluded.csv", style=style)
    if excluded:
        console.print(f"{len(excluded)} rows in excluded.csv say who or what was left out, and why")
    console.print(f"Results: {folder}", soft_wrap=True)


def _performance_table(rows: Sequence[Mapping[str, str]], title: str) -> Table:
    classes = list(dict.fromkeys(row["class"] for row in rows if row["class"] != "macro"))
    columns = [*_SHOWN, *((name, "auc") for name in classes)]
    titles = ["model", "n", "macro AUC", "balanced accuracy", *(f"AUC {name}" for name in classes)]
    table = Table(*titles, title=title, title_justify="left")
    cells = {(row["model"], row["class"], row["metric"]): row for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        found = [cells.get((model, *column)) for column in columns]
        n = next((row["n"] for row in found if row), "")
        table.add_row(model, n, *(_estimate(row) for row in found))
    return table


def _estimate(row: Mapping[str, str] | None) -> str:
    if row is None:
        return ""
    try:
        low, high = float(row["ci_low"]), float(row["ci_high"])
        return f"{float(row['estimate']):.2f} [{low:.2f}, {high:.2f}]"
    except ValueError:
        return row["estimate"]
