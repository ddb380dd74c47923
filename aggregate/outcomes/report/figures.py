"""Figures of models of an outcome."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from aggregate.drawing import COLOURS, GREY, LINES, WIDTH_IN, forest, panels
from aggregate.outcomes.predictions import DRAWN
from aggregate.outcomes.report.view import CHANCE, METRIC_WORDS, OutcomeView
from aggregate.outcomes.tables.grades import OUTCOME_CONFUSION
from aggregate.outcomes.tables.survival import EVERYBODY, RISK_GROUPS, SURVIVAL_CALIBRATION, SURVIVAL_CURVES
from aggregate.report.elements import Figure, cell, p_text
from aggregate.tables.rows import Row, numeric

_COLOUR = {"model": COLOURS[0], "baseline": GREY, "drawn": COLOURS[2]}
_NOTE = {"model": "", "baseline": " (baseline)", "drawn": " (the ceiling)"}
_TICKS = 6
GROUP_COLOURS = {"low": COLOURS[2], "middle": COLOURS[1], "high": COLOURS[5], EVERYBODY: GREY}


def forest_of_models(view: OutcomeView) -> Figure:
    """Draw the main metric of every model and baseline with its interval, beside what the outcomes were drawn from."""
    rows = view.main_rows
    kinds = [view.kind_of(model) for model in rows]
    labels = [f"{model}{_NOTE[kind]}" for model, kind in zip(rows, kinds, strict=True)]
    canvas, (axes,) = panels(1, height=0.9 + 0.27 * len(rows))
    colours = [_COLOUR[kind] for kind in kinds]
    forest(
        axes, labels, [_numbers(row) for row in rows.values()], colours=colours, reference=CHANCE[view.main]
    )
    axes.set_xlabel(f"{METRIC_WORDS[view.main]}, {view.folder.level} CI (dashed: chance)")
    drawn = (
        " Green: what these synthetic outcomes were drawn from, which no model can beat but by chance."
        if DRAWN in rows
        else ""
    )
    return Figure(
        "performance",
        canvas,
        f"{METRIC_WORDS[view.main][:1].upper()}{METRIC_WORDS[view.main][1:]} of the models of the configuration (blue) and of baselines (grey).{drawn} Whether two differ is "
        "told by the paired comparisons, not by these intervals: all are measured on the same patients.",
    )


def _numbers(row: Row, name: str = "estimate") -> tuple[float | None, float | None, float | None]:
    value, low, high = (numeric(row[column]) for column in (name, "ci_low", "ci_high"))
    return value, low, high


def kaplan_meier(view: OutcomeView, model: str) -> Figure:
    """Draw the curves of the risk groups of a model with the numbers at risk below."""
    rows = view.folder.rows(SURVIVAL_CURVES, model=model)
    groups = [name for name in dict.fromkeys(str(row["group"]) for row in rows) if name != EVERYBODY]
    canvas = Canvas(figsize=(WIDTH_IN, 4.6), layout="constrained")
    curves, below = canvas.subplots(2, 1, sharex=True, height_ratios=[4, 0.35 + 0.28 * len(groups)])
    end = max(float(row["time"]) for row in rows)
    ticks = _even_ticks(end)
    for number, group in enumerate(groups):
        of_group = [row for row in rows if row["group"] == group]
        _curve(curves, of_group, group, LINES[number])
        _at_risk(below, of_group, group, ticks, number)
    for horizon in view.section.horizons:
        curves.axvline(horizon, color=GREY, linewidth=0.7, linestyle=(0, (2, 3)))
    curves.set(ylim=(0, 1.02), ylabel="without the event")
    curves.legend(loc="upper right", title="risk")
    below.set(ylim=(len(groups) - 0.4, -0.6), xlabel=view.unit, xticks=ticks)
    below.set_yticks(range(len(groups)), groups)
    below.set_title("number at risk", loc="left", fontsize=9)
    below.spines["bottom"].set_visible(True)
    below.tick_params(axis="y", length=0)
    p_value = p_text(next(iter(view.folder.rows(RISK_GROUPS, model=model)))["log_rank_p"])
    told = "not estimable" if not p_value else f"p {p_value}" if p_value.startswith("<") else f"p = {p_value}"
    return Figure(
        f"risk_groups_{model}",
        canvas,
        f"Kaplan-Meier curves by risk group of {model}, with {view.folder.level} bands; ticks mark censored patients, dotted lines the "
        f"horizons. Log-rank test of the groups: {told}, exploratory. Each patient's group comes from "
        "models that did not see the patient, and the cut-offs from tune patients of the same folds.",
        title=model,
    )


def _even_ticks(end: float) -> list[float]:
    step = end / _TICKS
    size = 10 ** np.floor(np.log10(step))
    step = float(next(k * size for k in (1, 2, 3, 5, 6, 10) if k * size >= step))
    return [float(tick) for tick in np.arange(0, end + step / 2, step)]


def _curve(axes: Axes, rows: Sequence[Row], group: str, line: object) -> None:
    times = [float(row["time"]) for row in rows]
    survival = np.array([numeric(row["survival"]) for row in rows], dtype=np.float64)
    low, high = (np.array([numeric(row[c]) for row in rows], dtype=np.float64) for c in ("ci_low", "ci_high"))
    colour = GROUP_COLOURS[group]
    axes.fill_between(times, low, high, step="post", color=colour, alpha=0.13, linewidth=0)
    axes.step(
        times,
        survival,
        where="post",
        color=colour,
        linestyle=line,
        linewidth=1.8,
        label=f"{group} (n = {rows[0]['n_at_risk']})",
    )
    left = [
        rows[i]["n_at_risk"] - (rows[i + 1]["n_at_risk"] if i + 1 < len(rows) else 0)
        for i in range(len(rows))
    ]
    censored = [i for i, row in enumerate(rows) if left[i] > row["n_events"]]
    axes.plot(
        [times[i] for i in censored], survival[censored], "|", color=colour, markersize=6, markeredgewidth=1
    )


def _at_risk(axes: Axes, rows: Sequence[Row], group: str, ticks: Sequence[float], place: int) -> None:
    times = np.array([float(row["time"]) for row in rows])
    numbers = [*(int(row["n_at_risk"]) for row in rows), 0]
    for tick in ticks:
        at = numbers[int(np.searchsorted(times, tick))]
        axes.text(tick, place, str(at), ha="center", va="center", fontsize=8.5, color=GROUP_COLOURS[group])


def calibration(view: OutcomeView, models: Sequence[str]) -> Figure:
    """Draw observed against predicted survival at each horizon, in groups of rising prediction."""
    canvas, axes = panels(len(view.section.horizons), height=3.7, sharey=True)
    for panel, horizon in zip(axes, view.section.horizons, strict=True):
        for i, model in enumerate(models):
            rows = [
                r
                for r in view.folder.rows(SURVIVAL_CALIBRATION, model=model, horizon=horizon)
                if r["group"] != EVERYBODY
            ]
            _points(panel, rows, COLOURS[i], "os^D"[i % 4], model, shift=0.008 * i)
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        panel.set(
            title=f"{view.unit}: {horizon:g}",
            xlabel="predicted survival",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        panel.set_aspect("equal")
    axes[0].set_ylabel("observed survival (Kaplan-Meier)")
    axes[0].legend(loc="upper left", fontsize=8)
    return Figure(
        "calibration",
        canvas,
        f"Observed survival with its {view.folder.level} interval against the mean predicted survival, in groups of about equal size by "
        "rising prediction. On the dashed line both agree; below it the model promises too much.",
    )


def _points(axes: Axes, rows: Sequence[Row], colour: str, marker: str, label: str, *, shift: float) -> None:
    known = [row for row in rows if numeric(row["survival"]) is not None]
    x = [float(row["predicted"]) + shift for row in known]
    axes.plot(x, [float(row["survival"]) for row in known], marker, color=colour, markersize=5, label=label)
    for at, row in zip(x, known, strict=True):
        _, low, high = _numbers(row, "survival")
        if low is not None and high is not None:
            axes.plot([at, at], [low, high], color=colour, linewidth=1)


def agreement(view: OutcomeView, model: str) -> Figure:
    """Draw observed against predicted numbers, and their difference against their mean."""
    said, observed = (
        view.predictions.values[model][:, :, 0].mean(axis=0),
        np.asarray(view.outcome.values, dtype=np.float64),
    )
    canvas, (left, right) = panels(2, height=3.7)
    left.plot(said, observed, "o", color=COLOURS[0], markersize=3.5, alpha=0.7)
    ends = [float(min(said.min(), observed.min())), float(max(said.max(), observed.max()))]
    left.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
    left.set(xlabel="predicted", ylabel="observed", title=view.unit)
    right.plot((said + observed) / 2, said - observed, "o", color=COLOURS[0], markersize=3.5, alpha=0.7)
    for metric, style in (("bias", "-"), ("limit_low", (0, (3, 3))), ("limit_high", (0, (3, 3)))):
        value = numeric(view.rows[model, metric, ""]["estimate"])
        if value is not None:
            right.axhline(value, color=COLOURS[5], linewidth=1, linestyle=style)
    low, high = (cell(view.rows[model, name, ""], digits=1) for name in ("limit_low", "limit_high"))
    right.set(
        xlabel="mean of predicted and observed", ylabel="predicted minus observed", title="Bland and Altman"
    )
    return Figure(
        "agreement",
        canvas,
        f"Left: observed against predicted {view.unit} of {model}, mean of the repeats; on the dashed line both agree. Right: the "
        f"difference against the mean, with bias (line) and limits of agreement of a single repeat (dashed): {low} and {high}.",
    )


def confusion(view: OutcomeView, models: Sequence[str]) -> Figure:
    """Draw how often each grade is called which."""
    order = view.section.order
    canvas, axes = panels(len(models), height=3.4)
    for panel, model in zip(axes, models, strict=True):
        rows = {(r["observed"], r["predicted"]): r for r in view.folder.rows(OUTCOME_CONFUSION, model=model)}
        shares = np.array([[numeric(rows[a, b]["row_percent"]) or 0.0 for b in order] for a in order])
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for (i, j), share in np.ndenumerate(shares):
            count = numeric(rows[order[i], order[j]]["count"]) or 0.0
            panel.text(
                j,
                i,
                f"{share:.0f} %\n{count:.1f}",
                ha="center",
                va="center",
                color="white" if share > 55 else "black",
            )
        panel.set(title=model, xlabel="predicted", xticks=range(len(order)), yticks=range(len(order)))
        panel.set_xticklabels(order)
        panel.set_yticklabels(order)
    axes[0].set_ylabel("observed")
    return Figure(
        "confusion",
        canvas,
        "Share of the patients of an observed grade (row), and their number, mean of the repeats, whose most probable grade is that "
        "of the column.",
    )
