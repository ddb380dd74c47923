"""The summary printed after a run: the performance table and the folder of the results."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row, numeric
from pipeline.bags import RANDOM_BANNER


def print_summary(tables: ResultTables, name: str, classes: Sequence[str], console: Console) -> None:
    """Print macro AUC, balanced accuracy and per-class AUC of every model, and the folder of the tables."""
    rows = tables.read(PERFORMANCE)
    weights = rows[0]["weights"]
    if weights.startswith(RANDOM_BANNER):
        console.print(
            f"{weights}: the encoder is untrained; these figures say nothing about patients", markup=False
        )
    title = f"{name}: out-of-fold performance [{tables.level} CI], weights {weights}"
    console.print(_performance_table(rows, classes, title), markup=False)
    excluded = tables.read(EXCLUDED)
    if excluded:
        console.print(f"{len(excluded)} rows in {EXCLUDED.location} list what was left out, with the reason")
    console.print(f"Results: {tables.folder}", soft_wrap=True, highlight=False, markup=False, emoji=False)


def _performance_table(rows: Sequence[Row], classes: Sequence[str], title: str) -> Table:
    titles = ["n", "macro AUC", "balanced acc.", *(f"AUC {name}" for name in classes)]
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("model", *titles):
        table.add_column(name, no_wrap=True)
    cells = {(row["model"], row["class"], row["metric"]): row for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        auc, accuracy = cells[model, "macro", "auc"], cells[model, "macro", "balanced_accuracy"]
        per_class = [_figure(cells[model, name, "auc"]["estimate"]) for name in classes]
        table.add_row(model, str(auc["n"]), _with_interval(auc), _with_interval(accuracy), *per_class)
    return table


def _with_interval(row: Row) -> str:
    if row["ci_low"] is None:
        return _figure(row["estimate"])
    return f"{_figure(row['estimate'])} [{_figure(row['ci_low'])}, {_figure(row['ci_high'])}]"


def _figure(value: object) -> str:
    """Shorten a number to two decimals; leave what is not estimable as it is."""
    number = numeric(value)
    return str(value or "") if number is None else f"{number:.2f}"
