"""What a run says on the screen when it is done: the performance table and where the results lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.bags import RANDOM_BANNER
from pipeline.tables import TableStyle, number_in, read_table


def print_summary(
    folder: Path, name: str, classes: Sequence[str], console: Console, style: TableStyle
) -> None:
    """Print macro AUC, balanced accuracy and per-class AUC of every model, and the folder of the tables."""
    rows = read_table(folder / "performance.csv", style=style)
    weights = rows[0]["weights"]
    if weights.startswith(RANDOM_BANNER):
        console.print(
            f"{weights}: the encoder is untrained; these figures say nothing about patients", markup=False
        )
    title = f"{name}: out-of-fold performance [95 % CI], weights {weights}"
    console.print(_performance_table(rows, classes, title), markup=False)
    excluded = read_table(folder / "excluded.csv", style=style)
    if excluded:
        console.print(f"{len(excluded)} rows in excluded.csv say who or what was left out, and why")
    console.print(f"Results: {folder}", soft_wrap=True, highlight=False, markup=False, emoji=False)


def _performance_table(rows: Sequence[Mapping[str, str]], classes: Sequence[str], title: str) -> Table:
    titles = ["n", "macro AUC", "balanced acc.", *(f"AUC {name}" for name in classes)]
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("model", *titles):
        table.add_column(name, no_wrap=True)
    cells = {(row["model"], row["class"], row["metric"]): row for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        auc, accuracy = cells[model, "macro", "auc"], cells[model, "macro", "balanced_accuracy"]
        per_class = [_figure(cells[model, name, "auc"]["estimate"]) for name in classes]
        table.add_row(model, auc["n"], _with_interval(auc), _with_interval(accuracy), *per_class)
    return table


def _with_interval(row: Mapping[str, str]) -> str:
    if not row["ci_low"]:
        return _figure(row["estimate"])
    return f"{_figure(row['estimate'])} [{_figure(row['ci_low'])}, {_figure(row['ci_high'])}]"


def _figure(cell: str) -> str:
    """Shorten a number to two decimals; leave what is not estimable as it is."""
    value = number_in(cell)
    return cell if value is None else f"{value:.2f}"
