"""Figures of a study's learning curves, robustness and projections."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from aggregate.drawing import COLOURS, GREY, LINES, MARKERS, forest, legend_below, panels
from aggregate.report.elements import Figure
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.study.learning_curve import LEARNING_CURVE
from aggregate.study.projection import PROJECTION
from aggregate.study.robustness import NOTHING, ONLY, ROBUSTNESS, SLICES, WITHOUT
from aggregate.tables.predictions import PROBABILITY_PREFIX
from aggregate.tables.rows import Row, numeric

MOST_MODELS = 4
"""More curves than this in one panel cannot be distinguished."""
_ESTIMATE = ("estimate", "ci_low", "ci_high")
_BESIDE = 1.012
"""Factor between the intervals of two models at one number of patients, so that both are seen."""


def learning_curves(folder: ResultsFolder) -> Figure:
    """Draw the macro AUC against the number of training patients, with the power law beyond them."""
    models = distinct(folder.rows(LEARNING_CURVE), "model")[:MOST_MODELS]
    canvas, (axes,) = panels(1, height=3.8)
    for i, model in enumerate(models):
        _draw_curve(axes, folder.rows(LEARNING_CURVE, model=model), i, model)
    axes.set_xscale("log")
    rows = [row for row in folder.rows(LEARNING_CURVE) if row["model"] in models]
    known = [row for row in rows if numeric(row["estimate"]) is not None]
    ticks = sorted({row["n_train"] for row in known})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    trained = [row["n_train"] for row in known if not row["extrapolated"]]
    if trained and max(ticks) > max(trained):
        axes.set_xlim(min(trained) * 0.9, max(ticks) * 1.15)
        axes.axvspan(max(trained) * 1.15, max(ticks) * 1.15, color="#f2f2f2", linewidth=0)
        axes.text(
            max(trained) * 1.2,
            0.02,
            "extrapolated: a planning aid",
            color=GREY,
            transform=axes.get_xaxis_transform(),
        )
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set(xlabel="training patients of a fold (logarithmic)", ylabel=f"macro AUC, {folder.level} CI")
    legend_below(canvas, axes)
    return Figure(
        "learning_curve",
        canvas,
        "Macro AUC of models that were trained on shares of the training patients and tested on all test patients (filled). Open: "
        "a power law through these points, read further on, a planning aid and not a result; the thin line is the law.",
    )


def _draw_curve(axes: Axes, rows: Sequence[Row], i: int, model: str) -> None:
    colour = COLOURS[i]
    for row in rows:
        value, low, high = (numeric(row[column]) for column in _ESTIMATE)
        if value is None:
            continue
        x = row["n_train"] * _BESIDE**i
        face = "white" if row["extrapolated"] else colour
        if low is not None and high is not None:
            style = (0, (2, 1.5)) if row["extrapolated"] else "-"
            axes.plot([x, x], [low, high], color=colour, linewidth=1.3, linestyle=style, alpha=0.8)
        axes.plot(x, value, MARKERS[i], color=colour, markerfacecolor=face, markersize=6, zorder=3)
    trained = [row for row in rows if not row["extrapolated"] and numeric(row["estimate"]) is not None]
    x, y = [row["n_train"] * _BESIDE**i for row in trained], [row["estimate"] for row in trained]
    axes.plot(x, y, color=colour, linestyle=LINES[i], marker=MARKERS[i], markersize=6, label=model)
    read = [row for row in rows if row["extrapolated"] and numeric(row["a"]) is not None]
    if read and trained:
        a, b, c = (read[0][name] for name in "abc")
        sizes = np.geomspace(trained[0]["n_train"], max(row["n_train"] for row in read), 100)
        axes.plot(sizes * _BESIDE**i, a - b * sizes**-c, color=colour, linewidth=0.8, alpha=0.8)


def robustness(folder: ResultsFolder) -> Figure:
    """Draw the macro AUC after each change of the test patients, one panel per configuration."""
    models = distinct(folder.rows(ROBUSTNESS), "model")[:MOST_MODELS]
    changes = list(dict.fromkeys(map(change_in_words, folder.rows(ROBUSTNESS))))
    canvas, axes = panels(len(models), height=1.0 + 0.26 * len(changes), sharex=True, sharey=True)
    for panel, model in zip(axes, models, strict=True):
        rows = {change_in_words(row): row for row in folder.rows(ROBUSTNESS, model=model)}
        estimates = [
            tuple(numeric(rows[name][column]) if name in rows else None for column in _ESTIMATE)
            for name in changes
        ]
        (whole,) = folder.rows(ROBUSTNESS, model=model, change=NOTHING)
        colours = [COLOURS[_colour_of(rows.get(name))] for name in changes]
        forest(panel, changes, estimates, colours=colours, reference=numeric(whole["estimate"]))  # type: ignore[arg-type]
        panel.set_title(model, fontsize=9)
        panel.set_xlabel(f"macro AUC, {folder.level} CI")
    return Figure(
        "robustness",
        canvas,
        "Macro AUC of the fitted models when the test patients have fewer phases or slices; nothing is "
        "trained anew. Dashed: nothing taken away.",
    )


def change_in_words(row: Row) -> str:
    """Say what a row of robustness.csv takes away."""
    if row["change"] == WITHOUT:
        return f"without {row['phase']}"
    if row["change"] == ONLY:
        return f"{row['phase']} alone"
    return "everything" if row["change"] == NOTHING else f"{100 * row['share']:g} % of the slices"


def _colour_of(row: Row | None) -> int:
    return 0 if row is None else {NOTHING: 7, WITHOUT: 0, ONLY: 5, SLICES: 2}[row["change"]]


def projection(folder: ResultsFolder, model: str) -> Figure:
    """Draw where each patient lies between the trained classes: one strip per reference class."""
    rows = folder.rows(PROJECTION, model=model)
    trained = trained_classes(rows)
    shown = trained[1:] if len(trained) == 2 else trained
    labels = strips(rows, trained)
    canvas, axes = panels(len(shown), height=0.9 + 0.62 * len(labels), sharex=True, sharey=True)
    for panel, of_class in zip(axes, shown, strict=True):
        for y, label in enumerate(labels):
            _draw_strip(panel, [row for row in rows if row["label"] == label], y, of_class)
        panel.axvline(1 / len(trained), color=GREY, linewidth=1, linestyle=(0, (3, 3)))
        panel.set(xlim=(-0.02, 1.02), ylim=(len(labels) - 0.5, -0.5), title=f"probability of {of_class}")
        panel.set_yticks(range(len(labels)), [_strip_name(rows, label) for label in labels])
    if len(trained) == 2:
        axes[0].set_xlabel(
            f"more like {trained[0]}  \N{LEFTWARDS ARROW}      \N{RIGHTWARDS ARROW}  more like {trained[1]}"
        )
    return Figure(
        "projection",
        canvas,
        f"Each point is a patient (model {model}); the vertical stroke is the median. Diamonds: patients of a class that no "
        "model was trained on, mean over every outer model. Circles: the trained classes, scored by models that did not see "
        f"the patient. Dashed: equal probability of the {len(trained)} classes.",
    )


def trained_classes(rows: Sequence[Row]) -> list[str]:
    """Return the classes that have a column of probabilities."""
    names = rows[0] if rows else ()
    return [name.removeprefix(PROBABILITY_PREFIX) for name in names if name.startswith(PROBABILITY_PREFIX)]


def strips(rows: Sequence[Row], trained: Sequence[str]) -> list[str]:
    """Return the reference classes, the projected ones behind the first trained one: between two, where there are two."""
    projected = [label for label in distinct(rows, "label") if label not in trained]
    return [trained[0], *projected, *trained[1:]]


def _strip_name(rows: Sequence[Row], label: str) -> str:
    of_label = [row for row in rows if row["label"] == label]
    told = ", not trained on" if of_label and of_label[0]["projected"] else ""
    return f"{label}{told} (n = {len(of_label)})"


def _draw_strip(axes: Axes, rows: Sequence[Row], y: int, of_class: str) -> None:
    values = np.array([row[f"{PROBABILITY_PREFIX}{of_class}"] for row in rows], dtype=np.float64)
    if not len(values):
        return
    is_projected = rows[0]["projected"]
    heights = y + np.linspace(-0.28, 0.28, len(values))[_scattered(len(values))]
    axes.plot(
        values, heights, "D" if is_projected else "o", color=COLOURS[5 if is_projected else 0], markersize=4.5,
        alpha=0.75, markeredgewidth=0,
    )  # fmt: skip
    middle = float(np.median(values))
    axes.plot([middle, middle], [y - 0.36, y + 0.36], color="black", linewidth=1.6)


def _scattered(n: int) -> np.ndarray:
    """Return an order that looks random and is always the same, so that a figure is drawn alike each time."""
    return np.random.default_rng(n).permutation(n)
