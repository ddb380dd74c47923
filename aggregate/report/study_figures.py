"""Figures of a study."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from aggregate.drawing import COLOURS, GREY, MARKERS, colour_of, forest, panels
from aggregate.report.elements import Figure
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.study.configurations import FACTOR_PREFIX
from aggregate.study.factor_effects import FACTOR_EFFECTS, FACTORS
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.ranks import RANKS
from aggregate.study.selection import BEST_ROW, PICKED, SELECTION, TYPICAL
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from aggregate.tables.rows import Row, numeric

MOST_ROWS = 40
"""More lines than this in one figure cannot be read."""
_LEAST_ROWS = 3
"""Rows of a block of the leaderboard's figure, however many blocks there are."""
_LONGEST_NAME = 60
_INTERVAL = ("estimate", "ci_low", "ci_high")


def ranked(folder: ResultsFolder) -> list[Row]:
    """Return the configurations of the leaderboard, the best first."""
    return [row for row in folder.rows(LEADERBOARD) if row["rank"] is not None]


def main_factor(folder: ResultsFolder) -> str | None:
    """Return the factor with the largest spread: the one that colours the figures; None where none varies."""
    rows = folder.rows(FACTORS)
    return str(rows[0]["factor"]) if rows else None


def levels_of(folder: ResultsFolder, factor: str) -> list[str]:
    """Return the levels of a factor, that of the best configuration first."""
    return [str(level) for level in distinct(ranked(folder), f"{FACTOR_PREFIX}{factor}")]


_COSTS = {
    "fit_s": "seconds to train on one fold",
    "n_parameters": "parameters",
    "slices_per_s": "slices per second",
}
"""Column of the leaderboard -> what it is."""
_WIDE = 100.0
"""Quotient of the largest and the smallest cost from which on the powers of ten are marks enough."""


def leaderboard(folder: ResultsFolder) -> Figure:
    """Draw the best configurations in a block per level of the main factor, and the baselines, with intervals."""
    factor = main_factor(folder)
    blocks = _blocks(folder, factor)
    canvas, (axes,) = panels(1, height=1.3 + 0.2 * sum(1 + len(rows) for _, rows in blocks))
    _draw_blocks(axes, folder, factor, blocks)
    axes.set_xlabel(f"macro AUC, {folder.level} CI (dashed: chance)")
    shown = [row for _, rows in blocks for row in rows if row["rank"] is not None]
    n_all = len(ranked(folder))
    more = f" The best of each block, {len(shown)} of {n_all}." if len(shown) < n_all else ""
    grouped = f", in a block per level of {factor}, the choice with the largest spread" if factor else ""
    return Figure(
        "leaderboard",
        canvas,
        f"Configurations by their macro AUC{grouped}; numbers are ranks among all.{more} The intervals are those of each "
        "configuration alone; two that overlap may still differ, since all are measured on the same patients.",
    )


def _draw_blocks(
    axes: Axes, folder: ResultsFolder, factor: str | None, blocks: Sequence[tuple[str, Sequence[Row]]]
) -> None:
    """Draw a bold heading per block, and below it a line per row."""
    lines: list[tuple[str, Row | None]] = []
    for heading, rows in blocks:
        lines += [(heading, None), *((_label(row), row) for row in rows)]
    estimates = [_numbers(row) if row else (None, None, None) for _, row in lines]
    colours = [_colour(folder, factor, row) if row and row["rank"] is not None else GREY for _, row in lines]
    forest(axes, [name for name, _ in lines], estimates, colours=colours, reference=0.5)
    for y, (tick, (_, row)) in enumerate(zip(axes.get_yticklabels(), lines, strict=True)):
        if row is None:
            tick.set_fontweight("bold")
            axes.axhline(y - 0.5, color="#bbbbbb", linewidth=0.8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(_lowest(estimates), 1.01)


def _blocks(folder: ResultsFolder, factor: str | None) -> list[tuple[str, list[Row]]]:
    """Return the best rows of each level of the factor, the block of the best one first, then the baselines."""
    rows = ranked(folder)
    if factor is None:
        blocks = [("configurations", rows[:MOST_ROWS])]
    else:
        levels = levels_of(folder, factor)
        most = max(_LEAST_ROWS, MOST_ROWS // len(levels))
        blocks = [
            (
                f"{factor}: {level}",
                [row for row in rows if str(row[f"{FACTOR_PREFIX}{factor}"]) == level][:most],
            )
            for level in levels
        ]
    baselines = [row for row in folder.rows(LEADERBOARD) if row["rank"] is None]
    return [*blocks, ("baselines", baselines)] if baselines else blocks


def _label(row: Row) -> str:
    return short(row["model"]) if row["rank"] is None else f"{row['rank']}  {short(row['model'])}"


def pareto(folder: ResultsFolder) -> Figure:
    """Draw macro AUC over each cost, with the configurations that nothing beats at their seconds of a fit."""
    factor = main_factor(folder)
    canvas, every = panels(len(_COSTS), height=4.0, sharey=True)
    for axes, (column, told) in zip(every, _COSTS.items(), strict=True):
        _over_cost(axes, folder, column)
        axes.set_xlabel(f"{told} (log scale)")
    _draw_front(every[0], folder)
    every[0].set_ylabel("macro AUC")
    _explain_levels(every[0], folder, factor)
    return Figure(
        "pareto",
        canvas,
        f"Quality against cost, one point per configuration{_coloured(factor)}. On the black line no other one is better and "
        "takes less time to train; numbers are ranks of the leaderboard. The times are of one machine, with its other work beside "
        "it. A model that counts no parameters, as trees, has no point over these.",
    )


def _over_cost(axes: Axes, folder: ResultsFolder, column: str) -> None:
    """Draw a point per configuration whose cost is known."""
    factor = main_factor(folder)
    for row in ranked(folder):
        cost, value = numeric(row[column]), numeric(row["estimate"])
        if cost and value is not None:
            colour, marker = _colour(folder, factor, row), _marker(folder, factor, row)
            axes.plot(cost, value, marker, color=colour, markersize=6 if row["pareto"] else 5, alpha=0.9)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < _WIDE * low else (1.0,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # the usual one writes formulas
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#dddddd", linewidth=0.6)


def _draw_front(axes: Axes, folder: ResultsFolder) -> None:
    """Draw the line of the configurations that nothing beats at their seconds of a fit, with their ranks."""
    rows = [row for row in ranked(folder) if numeric(row["fit_s"]) and numeric(row["estimate"]) is not None]
    points = sorted((row["fit_s"], row["estimate"], row["rank"]) for row in rows if row["pareto"])
    if not points:
        return
    x, y, ranks = zip(*points, strict=True)
    axes.step([*x, max(row["fit_s"] for row in rows)], [*y, y[-1]], "k-", where="post", linewidth=1, zorder=1)
    for place in zip(x, y, ranks, strict=True):
        axes.annotate(str(place[2]), place[:2], (0, 7), textcoords="offset points", ha="center", fontsize=8)


def factor_effects(folder: ResultsFolder) -> Figure:
    """Draw the mean difference of each pair of levels with the intervals of both tests."""
    pairs = _pairs(folder)
    shown = pairs[:MOST_ROWS]
    level = 1 - folder.tables.confidence
    canvas, (axes,) = panels(1, height=1.3 + 0.3 * len(shown))
    for shift, test, colour, marker in (
        (-0.14, BOOTSTRAP, COLOURS[0], "o"),
        (0.14, CORRECTED_T, COLOURS[5], "s"),
    ):
        for y, by_test in enumerate(shown):
            row = by_test[test]
            value, low, high = (numeric(row[name]) for name in ("difference", "ci_low", "ci_high"))
            if value is None:
                continue
            if low is not None and high is not None:
                axes.plot([low, high], [y + shift] * 2, color=colour, linewidth=1.8, solid_capstyle="butt")
            p = numeric(row["p_adjusted"])
            filled = colour if p is not None and p < level else "white"
            axes.plot(value, y + shift, marker, color=colour, markerfacecolor=filled, markersize=5)
    names = [
        f"{r['factor']}: {r['level_a']} − {r['level_b']} ({r['n_pairs']})"
        for r in (p[BOOTSTRAP] for p in shown)
    ]
    axes.set_yticks(range(len(shown)), [short(name) for name in names], fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.axvline(0, color=GREY, linewidth=1, linestyle=(0, (3, 3)))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    for y, (above, below) in enumerate(pairwise(shown)):
        if above[BOOTSTRAP]["factor"] != below[BOOTSTRAP]["factor"]:
            axes.axhline(y + 0.5, color="#bbbbbb", linewidth=0.8)
    axes.set_xlabel(f"mean difference in macro AUC within matched pairs, {folder.level} CI")
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", label=BOOTSTRAP),
        Line2D([], [], color=COLOURS[5], marker="s", label=CORRECTED_T),
    ]
    _legend_above(axes, handles, columns=2)
    more = f" The first {len(shown)} of {len(pairs)} pairs." if len(pairs) > len(shown) else ""
    return Figure(
        "factor_effects",
        canvas,
        "Each choice with everything else equal; in brackets the number of matched pairs. A filled mark is a difference that "
        f"remains after Holm's adjustment over all lines; the intervals are not adjusted.{more}",
    )


def critical_difference(folder: ResultsFolder) -> Figure:
    """Draw the mean rank of the best configurations, and a line for each group that cannot be told apart."""
    rows = folder.rows(RANKS)
    groups = [str(row["groups"]).split() for row in rows]
    several = sorted({g for of in groups for g in of if sum(g in other for other in groups) > 1}, key=int)
    canvas, (axes, lines) = panels(
        2, height=1.1 + 0.27 * len(rows), sharey=True, width_ratios=(1, max(0.06, 0.028 * len(several)))
    )
    ranks = [numeric(row["mean_rank"]) or np.nan for row in rows]
    axes.plot(ranks, range(len(rows)), "o", color=COLOURS[0], markersize=6)
    axes.set_yticks(range(len(rows)), [short(row["model"]) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_xlabel("mean rank over the folds (1 is best)")
    for x, group in enumerate(several):
        members = [y for y, of in enumerate(groups) if group in of]
        lines.plot([x, x], [members[0], members[-1]], color="black", linewidth=1.2)
        lines.plot([x] * len(members), members, "o", color="black", markersize=6)
    lines.set_xlim(-0.7, max(len(several), 1) - 0.3)
    lines.set_xlabel("not told\napart", fontsize=8)
    lines.tick_params(left=False, bottom=False, labelbottom=False)
    lines.spines[:].set_visible(False)
    return Figure(
        "critical_difference",
        canvas,
        "Mean rank of the best configurations over the folds. Dots on one vertical line at the right are configurations of "
        "which no two differ by the corrected t-test of the folds after Holm's adjustment. The ranks decide nothing: whether two "
        "mean ranks differ would depend on the other configurations, and folds are not independent data sets.",
    )


def winners_curse(folder: ResultsFolder) -> Figure:
    """Draw the best row beside the honest estimate and the mean of all configurations."""
    told = {
        BEST_ROW: "best row: chosen on these patients",
        PICKED: "picked in each fold without its patients",
        TYPICAL: "mean of all configurations",
    }
    rows = {row["what"]: row for row in folder.rows(SELECTION)}
    kinds = [what for what in told if what in rows]
    estimates = [_numbers(rows[what]) for what in kinds]
    canvas, (axes,) = panels(1, height=2.3)
    forest(
        axes, [told[what] for what in kinds], estimates, colours=[COLOURS[5], COLOURS[0], GREY], reference=0.5
    )
    every = [value for row in ranked(folder) if (value := numeric(row["estimate"])) is not None]
    axes.plot(every, [len(kinds) - 0.35] * len(every), "|", color=GREY, markersize=8, alpha=0.6)
    axes.set_ylim(len(kinds) - 0.1, -0.5)
    axes.set_xlim(min(_lowest(estimates), min([*every, 1.0]) - 0.02), 1.01)
    axes.set_xlabel(f"macro AUC, {folder.level} CI (dashed: chance; ticks: every configuration)")
    return Figure(
        "winners_curse",
        canvas,
        "What picking the best of this grid is worth. The first estimate is the largest of many, on the patients it was chosen "
        "on; the second is what a choice on the tune patients of each fold reaches on others, who took no part in it. Their difference "
        "is optimism of the first and the cost of choosing on few patients in the second.",
    )


def short(name: str) -> str:
    """Shorten a name in its middle to what fits beside a figure."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _pairs(folder: ResultsFolder) -> list[dict[str, Row]]:
    """Return the rows of each pair of levels by test, the factor with the largest spread first."""
    order = {row["factor"]: i for i, row in enumerate(folder.rows(FACTORS))}
    found: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in folder.rows(FACTOR_EFFECTS):
        found.setdefault((row["factor"], row["level_a"], row["level_b"]), {})[row["test"]] = row
    return sorted(found.values(), key=lambda by_test: order.get(by_test[BOOTSTRAP]["factor"], len(order)))


def _numbers(row: Row) -> tuple[float | None, float | None, float | None]:
    value, low, high = (numeric(row[name]) for name in _INTERVAL)
    return value, low, high


def _lowest(estimates: Sequence[tuple[float | None, float | None, float | None]]) -> float:
    return min([0.45, *(low for _, low, _ in estimates if low is not None)]) - 0.02


def _coloured(factor: str | None) -> str:
    return f", coloured by {factor}, the choice with the largest spread" if factor else ""


def _colour(folder: ResultsFolder, factor: str | None, row: Row) -> str:
    if factor is None:
        return COLOURS[0]
    return colour_of(levels_of(folder, factor), str(row[f"{FACTOR_PREFIX}{factor}"]))


def _marker(folder: ResultsFolder, factor: str | None, row: Row) -> str:
    if factor is None:
        return MARKERS[0]
    return MARKERS[levels_of(folder, factor).index(str(row[f"{FACTOR_PREFIX}{factor}"])) % len(MARKERS)]


def _explain_levels(axes: Axes, folder: ResultsFolder, factor: str | None) -> None:
    if factor is None:
        return
    levels = levels_of(folder, factor)
    handles = [
        Line2D(
            [],
            [],
            color=colour_of(levels, level),
            marker=MARKERS[i % len(MARKERS)],
            linestyle="",
            label=level,
        )
        for i, level in enumerate(levels)
    ]
    _legend_above(axes, handles, columns=min(6, len(levels)))


def _legend_above(axes: Axes, handles: Sequence[Line2D], *, columns: int) -> None:
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, fontsize=8)
