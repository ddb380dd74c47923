"""Figures of the models' performance."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from aggregate.drawing import COLOURS, GREY, LINES, MARKERS, forest, legend_below, panels
from aggregate.predictions import Predictions
from aggregate.report.elements import Figure, cell
from aggregate.report.folder import ResultsFolder
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.calibration import CALIBRATION
from aggregate.tables.decisions import DECISION_CURVE
from aggregate.tables.performance import CONFUSION, PERFORMANCE
from aggregate.tables.rows import Row, numeric

MOST_MODELS = 4
"""More curves than this in one panel cannot be distinguished."""
_GRID = np.linspace(0, 1, 101)
_BAND_DRAWS = 200
PLAIN, BASELINE = " (plain comparator)", " (baseline)"
"""Behind the names of models that the run added."""
_RECALLS = _GRID[5:]
"""Precision at a sensitivity near 0 rests on one or two patients and jumps between 0 and 1."""


def forest_of_auc(folder: ResultsFolder) -> Figure:
    """Draw the macro AUC of every model and baseline with its interval."""
    rows = folder.macro_auc
    groups = (
        (folder.models, "", COLOURS[0]),
        (folder.plain, PLAIN, COLOURS[1]),
        (folder.baselines, BASELINE, GREY),
    )
    lines = [(model, f"{model}{told}", colour) for models, told, colour in groups for model in models]
    estimates = [_numbers(rows[model]) for model, _, _ in lines]
    canvas, (axes,) = panels(1, height=0.9 + 0.27 * len(lines))
    forest(axes, [label for _, label, _ in lines], estimates, colours=[c for *_, c in lines], reference=0.5)
    axes.set_xlim(min([0.4, *(low for _, low, _ in estimates if low is not None)]) - 0.02, 1.01)
    axes.set_xlabel(f"macro one-vs-rest AUC, {folder.level} CI (dashed: chance)")
    return Figure(
        "performance",
        canvas,
        "Macro AUC of the models of the configuration (blue), of plain comparators on the same images (orange: one phase "
        "alone, the centre slice, the mean over all slices), and of baselines that see no images (grey). Whether two differ is told "
        "by the paired comparisons, not by these intervals: all are measured on the same patients.",
    )


def _numbers(row: Row) -> tuple[float | None, float | None, float | None]:
    value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
    return value, low, high


def roc_curves(folder: ResultsFolder, predictions: Predictions, models: Sequence[str]) -> Figure:
    """Draw ROC curves per class, averaged over the repeats at equal false-positive rates, the first with a band."""
    canvas, axes = panels(len(predictions.classes), height=3.9, sharey=True)
    for k, (panel, name) in enumerate(zip(axes, predictions.classes, strict=True)):
        is_positive = predictions.labels == k
        for i, model in enumerate(models[:MOST_MODELS] if _has_both(is_positive) else ()):
            scores = predictions.probabilities[model][:, :, k]
            if i == 0:
                low, high = _roc_band(scores, is_positive, folder.tables.confidence)
                panel.fill_between(_GRID, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
            (row,) = folder.rows(PERFORMANCE, **{"model": model, "class": name, "metric": "auc"}) or (None,)
            told = f"{model}\n{cell(row)}"
            panel.plot(
                _GRID, _mean_roc(scores, is_positive), color=COLOURS[i], linestyle=LINES[i], label=told
            )
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        panel.set(title=f"{name} (n = {int(is_positive.sum())})", xlabel="1 - specificity")
        panel.set_aspect("equal")
        if _has_both(is_positive):
            panel.legend(loc="lower right", fontsize=7, frameon=False)
    axes[0].set_ylabel("sensitivity")
    return Figure(
        "roc",
        canvas,
        "ROC curve of each class against the others, mean of the repeats; below each name the AUC with its "
        f"{folder.level} CI. The band is that of {models[0]}: {folder.level} of {_BAND_DRAWS} resamples of the patients at each "
        "specificity, without the design effect of the intervals. Upper left is better; the dashed diagonal is chance.",
    )


def _has_both(is_positive: NDArray[np.bool_]) -> bool:
    """Return whether there are patients of the class and others: without either there is no curve."""
    return bool(is_positive.any() and not is_positive.all())


def _mean_roc(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the sensitivity at each specificity of the grid, mean of the repeats (rows of the scores)."""
    mean: NDArray[np.float64] = np.mean([_roc(of, is_positive) for of in scores], axis=0)
    return mean


def _roc(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    false, true, _ = roc_curve(is_positive, scores)
    interpolated: NDArray[np.float64] = np.interp(_GRID, false, true)
    interpolated[0] = 0.0
    return interpolated


def _roc_band(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the quantiles over resamples of the patients at each specificity of the grid."""
    weights = draw_resamples(is_positive.astype(np.intp), draws=_BAND_DRAWS, seed=0)[:, 1:]
    curves = np.mean([rocs_of_resamples(of, is_positive, weights) for of in scores], axis=0)
    low, high = np.quantile(curves, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def rocs_of_resamples(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sensitivity at each specificity of the grid for every resample at once.

    As `sklearn.metrics.roc_curve` with sample weights, which takes 60 times as long over 200 resamples of 120 patients.

    Args:
        scores: float64 (n,).
        is_positive: bool (n,), of the class.
        weights: float64 (n, draws), how much each patient counts.

    Returns:
        float64 (draws, points of the grid).
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(
        np.flatnonzero(np.diff(scores[order])), len(scores) - 1
    )  # patients of one score go together
    hits, misses = (
        np.vstack([np.zeros(weights.shape[1]), np.cumsum(weights[order] * of[order, None], axis=0)[ends]])
        for of in (is_positive, ~is_positive)
    )
    curves = [
        np.interp(_GRID, x, y) for x, y in zip((misses / misses[-1]).T, (hits / hits[-1]).T, strict=True)
    ]
    rocs = np.array(curves)
    rocs[:, 0] = 0.0
    return rocs


def precision_recall(predictions: Predictions, models: Sequence[str]) -> Figure:
    """Draw precision-recall curves per class, averaged over the repeats at equal sensitivities."""
    canvas, axes = panels(len(predictions.classes), height=3.6, sharey=True)
    for k, (panel, name) in enumerate(zip(axes, predictions.classes, strict=True)):
        is_positive = predictions.labels == k
        for i, model in enumerate(models[:MOST_MODELS] if _has_both(is_positive) else ()):
            curves = []
            for p in predictions.probabilities[model]:
                precision, recall, _ = precision_recall_curve(is_positive, p[:, k])
                curves.append(np.interp(_RECALLS, recall[::-1], precision[::-1]))
            panel.plot(_RECALLS, np.mean(curves, axis=0), color=COLOURS[i], linestyle=LINES[i], label=model)
        panel.axhline(is_positive.mean(), color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        panel.set(title=name, xlabel="sensitivity (recall)", ylim=(0, 1.03), xlim=(0, 1))
    axes[0].set_ylabel("positive predictive value")
    legend_below(canvas, axes[0])
    return Figure(
        "precision_recall",
        canvas,
        "Precision-recall curve of each class, mean of the repeats. The dashed line is the share of the class "
        "in this cohort, which is chance level; predictive values hold for this share only.",
    )


def calibration(folder: ResultsFolder, models: Sequence[str]) -> Figure:
    """Draw the reliability points of each class with their intervals."""
    canvas, axes = panels(len(folder.classes), height=3.7, sharey=True)
    for panel, name in zip(axes, folder.classes, strict=True):
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        for i, model in enumerate(models[:2]):
            where = {"model": model, "class": name, "measure": "reliability"}
            rows = folder.rows(CALIBRATION, **where)
            points = [
                [numeric(row[c]) for c in ("mean_predicted", "estimate", "ci_low", "ci_high")] for row in rows
            ]
            known = [p for p in points if p[0] is not None and p[1] is not None]
            panel.plot(
                [p[0] or 0 for p in known], [p[1] or 0 for p in known], color=COLOURS[i], linestyle=LINES[i],
                marker=MARKERS[i], markersize=5, label=model,
            )  # fmt: skip
            for x, _, low, high in known:
                if low is not None and high is not None:
                    panel.plot([x or 0] * 2, [low, high], color=COLOURS[i], linewidth=1, alpha=0.6)
            for row in rows if i == 0 else ():
                _write_n(panel, row)
        panel.set(title=name, xlabel="predicted probability", xlim=(0, 1), ylim=(0, 1.02))
        panel.set_aspect("equal")
    axes[0].set_ylabel("observed share")
    legend_below(canvas, axes[0])
    return Figure(
        "calibration",
        canvas,
        "Observed share of the class in groups of patients with similar predicted probability (vertical lines: "
        f"{folder.level} CI). On the dashed diagonal predicted and observed shares agree. The small numbers are the patients "
        f"behind each point of {models[0]}, mean of the repeats.",
    )


def _write_n(panel: Axes, row: Row) -> None:
    """Write the number of patients at the lower end of a point's interval."""
    x, low, n = (numeric(row[name]) for name in ("mean_predicted", "ci_low", "n"))
    if x is not None and low is not None and n is not None:
        panel.annotate(
            f"{n:.0f}", (x, low), (0, -2), textcoords="offset points", ha="center", va="top", fontsize=7
        )


def confusion(folder: ResultsFolder, models: Sequence[str]) -> Figure:
    """Draw confusion matrices: counts with row percentages."""
    shown = list(models[:3])
    canvas, axes = panels(len(shown), height=3.2)
    n = len(folder.classes)
    for panel, model in zip(axes, shown, strict=True):
        table = np.zeros((n, n, 2))
        for row in folder.rows(CONFUSION, model=model):
            at = folder.classes.index(row["reference"]), folder.classes.index(row["predicted"])
            table[at] = row["patients"], numeric(row["patients_percent"]) or 0
        panel.imshow(table[..., 1], cmap="Blues", vmin=0, vmax=100)
        for i, j in np.ndindex(n, n):
            count, percent = table[i, j]
            colour = "white" if percent > 55 else "black"
            panel.text(
                j, i, f"{count:.0f}\n{percent:.0f} %", ha="center", va="center", color=colour, fontsize=9
            )
        panel.set_xticks(range(n), folder.classes)
        panel.set_yticks(range(n), folder.classes)
        panel.set(title=model, xlabel="predicted")
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
    axes[0].set_ylabel("reference")
    return Figure(
        "confusion",
        canvas,
        "Patients by reference class (rows) and the class with the highest mean probability over the repeats (columns), with "
        "the share of the row. The diagonal holds the correct predictions. The sensitivities of the tables are means of the "
        "repeats and can differ by a patient.",
    )


def decision_curve(folder: ResultsFolder, models: Sequence[str]) -> Figure:
    """Draw net benefit over the threshold probability."""
    rows = folder.rows(DECISION_CURVE)
    classes = [name for name in folder.classes if any(row["class"] == name for row in rows)]
    canvas, axes = panels(len(classes), height=3.4)
    for panel, name in zip(axes, classes, strict=True):
        highest = 0.0
        for i, model in enumerate(models[:MOST_MODELS]):
            x, y, treat_all = _net_benefit(folder, model, name)
            panel.plot(x, y, color=COLOURS[i], linestyle=LINES[i], label=model)
            if not i:
                panel.plot(x, treat_all, color=GREY, linewidth=1, label="act on all")
            highest = max([highest, *y])
        panel.axhline(0, color="black", linewidth=1, label="act on none")
        panel.set(
            title=f"act as for {name}", xlabel="threshold probability", ylim=(-0.1, highest * 1.15 + 0.02)
        )
    axes[0].set_ylabel("net benefit")
    legend_below(canvas, axes[-1])
    return Figure(
        "decision_curve",
        canvas,
        "Net benefit of acting on the prediction when one would act above a given probability. A model is useful "
        "where its line is above both grey (act on all patients) and black (act on none).",
    )


def _net_benefit(
    folder: ResultsFolder, model: str, name: str
) -> tuple[list[float], list[float], list[float]]:
    rows = folder.rows(DECISION_CURVE, **{"model": model, "class": name})
    known = [row for row in rows if numeric(row["net_benefit"]) is not None]
    columns = ("threshold", "net_benefit", "treat_all")
    x, y, treat_all = ([numeric(row[c]) or 0.0 for row in known] for c in columns)
    return x, y, treat_all
