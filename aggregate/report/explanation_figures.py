"""Figures of the explanations."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from aggregate.drawing import (
    COLOURS,
    DIVERGING,
    GREY,
    HATCHES,
    MARKERS,
    forest,
    legend_below,
    panels,
)
from aggregate.explain.associations import CONCEPT_PROBES, CONCEPT_SCORES
from aggregate.explain.concepts import CONCEPTS
from aggregate.explain.phase_table import PHASES
from aggregate.explain.phase_value import PHASE_VALUE
from aggregate.explain.prototypes import CLUSTERS
from aggregate.explain.votes import SLICE_VOTES
from aggregate.report.elements import Figure
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.tables.rows import Row, numeric

SIGN_TITLES: Mapping[str, str] = {
    "arterial_hyperenhancement_hu": "arterial hyperenhancement",
    "nonrim_hyperenhancement_hu": "nonrim hyperenhancement",
    "washout_hu": "nonperipheral washout",
    "washout_ratio": "washout ratio (delayed)",
    "rim_arterial_hu": "rim over core, arterial",
    "rim_portal_hu": "rim over core, portal",
    "rim_delayed_hu": "rim over core, delayed",
    "progressive_enhancement_hu": "progressive central enh.",
    "capsule_hu": "bright border (capsule)",
    "heterogeneity_hu": "heterogeneity",
    "diameter_mm": "diameter",
    "volume_ml": "volume",
    "sphericity": "sphericity",
}
SHOWN_SIGNS = ("nonrim_hyperenhancement_hu", "washout_hu", "rim_arterial_hu", "progressive_enhancement_hu")
MOST_MATRICES = 5
"""More matrices than this in one row cannot be read."""


def enrichment(folder: ResultsFolder, models: Sequence[str]) -> Figure:
    """Draw the share of attention against the share of slices, per phase."""
    phases = distinct(folder.rows(PHASES), "phase")
    canvas, axes = panels(len(phases), height=0.9 + 0.32 * len(models), sharex=True, sharey=True)
    colours = [GREY if model.startswith("control") else COLOURS[i] for i, model in enumerate(models)]
    for panel, phase in zip(axes, phases, strict=True):
        rows = {row["model"]: row for row in folder.rows(PHASES, phase=phase)}
        columns = ("enrichment", "enrichment_low", "enrichment_high")
        estimates = [tuple(numeric(rows[m][c]) if m in rows else None for c in columns) for m in models]
        forest(panel, models, estimates, colours=colours, reference=1.0)  # type: ignore[arg-type]
        panel.set(title=phase, xlabel="attention / slices")
    return Figure(
        "enrichment",
        canvas,
        f"Share of attention divided by share of slices, per phase, with {folder.level} CI. At 1 (dashed) a phase gets "
        "attention in proportion to its number of slices, as in both controls by construction.",
    )


def phase_value(folder: ResultsFolder, models: Sequence[str]) -> Figure:
    """Draw the Shapley value of each phase, by masking and by retraining."""
    rows = folder.rows(PHASE_VALUE, measure="shapley")
    phases, methods = distinct(rows, "phase"), distinct(rows, "method")
    canvas, axes = panels(len(models), height=2.8, sharey=True)
    for panel, model in zip(axes, models, strict=True):
        for m, method in enumerate(methods):
            found = {row["phase"]: row for row in rows if (row["model"], row["method"]) == (model, method)}
            at = np.arange(len(phases)) + (m - (len(methods) - 1) / 2) * 0.36
            for x, phase in zip(at, phases, strict=True):
                row = found.get(phase)
                value, low, high = (
                    numeric(row[c]) if row else None for c in ("estimate", "ci_low", "ci_high")
                )
                if value is None:
                    continue
                panel.bar(
                    x, value, width=0.34, color=COLOURS[m], hatch=HATCHES[m], edgecolor="white",
                    label=f"by {method}" if phase == phases[0] else None,
                )  # fmt: skip
                if low is not None and high is not None:
                    panel.plot([x, x], [low, high], color="black", linewidth=1)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_xticks(range(len(phases)), phases)
        panel.set_title(model)
    axes[0].set_ylabel("AUC above chance due to phase")
    if methods:
        legend_below(canvas, axes[0])
    return Figure(
        "phase_value",
        canvas,
        f"Shapley value of each phase with {folder.level} CI: the mean gain of macro AUC from adding the phase, over all "
        "orders of adding phases. The bars of a model sum to its macro AUC minus 0.5. Masking measures what the trained "
        "model uses, retraining what the phases contain.",
    )


def slice_votes(folder: ResultsFolder, model: str) -> Figure:
    """Draw the shares of slices voting for each class, a bar per patient, sorted within the reference class."""
    rows = folder.rows(SLICE_VOTES, model=model)
    shares: dict[str, dict[str, float]] = {}
    label: dict[str, str] = {}
    for row in rows:
        shares.setdefault(row["patient_id"], {})[row["class"]] = numeric(row["share"]) or 0.0
        label[row["patient_id"]] = row["label"]
    classes = folder.classes
    counts = [max(1, sum(name == of for of in label.values())) for name in classes]
    canvas, axes = panels(len(classes), height=3.2, sharey=True, width_ratios=counts)
    for panel, name in zip(axes, classes, strict=True):
        # Sorted by the share of the first class: for a mixed class this spreads it between its two parents.
        patients = sorted((p for p in shares if label[p] == name), key=lambda p: (-shares[p][classes[0]], p))
        bottom = np.zeros(len(patients))
        for i, voted in enumerate(classes):
            heights = np.array([shares[p][voted] for p in patients])
            panel.bar(
                range(len(patients)), heights, bottom=bottom, width=0.92, color=COLOURS[i], hatch=HATCHES[i],
                edgecolor="white", linewidth=0.3, label=f"votes {voted}",
            )  # fmt: skip
            bottom += heights
        panel.set(title=f"reference {name} (n = {len(patients)})", xticks=[], xlabel="patients", ylim=(0, 1))
        panel.margins(x=0.01)
    axes[0].set_ylabel("share of slices")
    legend_below(canvas, axes[0])
    return Figure(
        "slice_votes",
        canvas,
        f"Share of slices whose evidence is highest for each class, one bar per patient, by reference class and sorted "
        f"by the share of {classes[0]} (model {model}, out of fold). A mixed tumour has a bar of several colours; so has any other of which the model is unsure.",
    )


def concept_scores(folder: ResultsFolder, models: Sequence[str]) -> Figure:
    """Draw the correlation of the class scores of every model with each sign beside that of the reference label."""
    rows = folder.rows(CONCEPT_SCORES)
    signs = distinct(rows, "concept")
    shown = models[:MOST_MATRICES]
    canvas, axes = panels(1 + len(shown), height=1.2 + 0.3 * len(signs), sharey=True)
    _matrix(axes[0], folder, [row for row in rows if row["model"] == shown[0]], "spearman_reference")
    axes[0].set_title("reference label\n(a perfect model)", fontsize=9)
    for panel, model in zip(axes[1:], shown, strict=True):
        _matrix(panel, folder, [row for row in rows if row["model"] == model], "spearman")
        panel.set_title(f"score of\n{model}", fontsize=9)
    axes[0].set_yticks(range(len(signs)), [SIGN_TITLES.get(sign, sign) for sign in signs])
    more = f" The first {len(shown)} of {len(models)} models." if len(models) > len(shown) else ""
    return Figure(
        "concept_scores",
        canvas,
        "Spearman correlation over patients between each measured sign and the reference label (left), and the "
        f"out-of-fold probability of each class by the models shown (* Holm-adjusted p below {significance(folder):g}). If a "
        "model's correlation is close to that of the reference, the model ranks patients like the sign does; "
        f"if only the reference correlates, the model misses the sign.{more}",
    )


def significance(folder: ResultsFolder) -> float:
    """Return the level of the tests that goes with the intervals: 0.05 with intervals of 95 %."""
    return round(1 - folder.tables.confidence, 9)


def _matrix(panel: Axes, folder: ResultsFolder, rows: Sequence[Row], column: str) -> None:
    """Draw signs x classes as coloured numbers."""
    signs = distinct(rows, "concept")
    table = np.full((len(signs), len(folder.classes)), np.nan)
    for row in rows:
        value = numeric(row[column])
        if value is None:
            continue
        at = signs.index(row["concept"]), folder.classes.index(row["class"])
        table[at] = value
        p = numeric(row["p_holm"])
        star = "*" if column == "spearman" and p is not None and p < significance(folder) else ""
        colour = "white" if abs(value) > 0.55 else "black"
        text = f"{value:.2f}{star}".replace("-", "\N{MINUS SIGN}").replace("0.", ".")
        panel.text(at[1], at[0], text, ha="center", va="center", color=colour, fontsize=7.5)
    panel.imshow(table, cmap=DIVERGING, vmin=-0.8, vmax=0.8, aspect="auto")
    panel.set_xticks(range(len(folder.classes)), folder.classes, fontsize=7.5, rotation=40, ha="right")
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def sign_distributions(folder: ResultsFolder) -> Figure:
    """Draw the main signs per patient by reference class."""
    rows = folder.rows(CONCEPTS)
    canvas, axes = panels(len(SHOWN_SIGNS), height=3.0)
    for panel, sign in zip(axes, SHOWN_SIGNS, strict=True):
        for i, name in enumerate(folder.classes):
            found = [numeric(row[sign]) for row in rows if row["label"] == name]
            _strip(panel, i, [value for value in found if value is not None])
        panel.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        panel.set_xticks(range(len(folder.classes)), folder.classes, fontsize=8)
        panel.set_title(SIGN_TITLES[sign], fontsize=9)
    axes[0].set_ylabel("HU")
    return Figure(
        "signs",
        canvas,
        "Measured signs of each patient by reference class; the bar is the median. Above zero (dashed) the "
        "finding is present, below it is absent; small values are within the variability between readers.",
    )


def _strip(panel: Axes, at: int, values: Sequence[float]) -> None:
    if not values:
        return
    spread = np.random.default_rng(at).uniform(-0.22, 0.22, size=len(values))
    panel.plot(
        at + spread, values, MARKERS[at % len(MARKERS)], color=COLOURS[at % len(COLOURS)], markersize=3.5,
        alpha=0.65, markeredgewidth=0,
    )  # fmt: skip
    panel.plot([at - 0.3, at + 0.3], [np.median(values)] * 2, color="black", linewidth=1.6)


def concept_probes(folder: ResultsFolder) -> Figure:
    """Draw how well a linear probe on the frozen features predicts each sign, beside its controls."""
    rows = [r for r in folder.rows(CONCEPT_PROBES) if numeric(r["spearman"]) is not None]
    canvas, (panel,) = panels(1, height=0.9 + 0.27 * max(2, len(rows)))
    estimates = [tuple(numeric(row[c]) for c in ("spearman", "ci_low", "ci_high")) for row in rows]
    labels = [SIGN_TITLES.get(row["concept"], row["concept"]) for row in rows]
    forest(panel, labels, estimates, reference=0.0)  # type: ignore[arg-type]
    for column, marker, name in (
        ("spearman_shuffled", "x", "control: shuffled sign"),
        ("spearman_size", "|", "control: number of slices"),
    ):
        values = [(row, numeric(r[column])) for row, r in enumerate(rows)]
        known = [(y, x) for y, x in values if x is not None]
        panel.plot([x for _, x in known], [y for y, _ in known], marker, color=GREY, label=name)
    panel.set_xlabel(f"Spearman, probe against measurement, {folder.level} CI")
    if rows:
        legend_below(canvas, panel)
    return Figure(
        "concept_probes",
        canvas,
        "How well a linear probe on the frozen features, tested out of fold, predicts each sign. A sign "
        "that no probe predicts is not linearly encoded in the features. A probe without information predicts the mean of "
        "the training patients, which correlates below zero: compare with the shuffled sign.",
    )


def clusters(folder: ResultsFolder) -> Figure:
    """Draw the mixture of classes in each cluster of slices beside the mixture of all slices."""
    rows = folder.rows(CLUSTERS)
    numbers = distinct(rows, "clusters")
    canvas, axes = panels(len(numbers), height=2.8, sharey=True)
    for panel, number in zip(axes, numbers, strict=True):
        here = [row for row in rows if row["clusters"] == number]
        names = distinct(here, "cluster")
        bottom = np.zeros(len(names) + 1)
        for i, name in enumerate(folder.classes):
            of_class = [row for row in here if row["class"] == name]
            heights = [numeric(row["share_of_cluster"]) or 0.0 for row in of_class]
            heights.append(numeric(of_class[0]["share_of_all"]) or 0.0)
            panel.bar(
                range(len(heights)), heights, bottom=bottom, color=COLOURS[i], hatch=HATCHES[i],
                edgecolor="white", label=name,
            )  # fmt: skip
            bottom += heights
        panel.set_xticks(range(len(names) + 1), [*(f"cluster {name}" for name in names), "all slices"])
        panel.set_title(f"{number} clusters")
    axes[0].set_ylabel("share of slices")
    legend_below(canvas, axes[0])
    return Figure(
        "clusters",
        canvas,
        "Classes of the slices in each cluster, formed without labels, compared with all slices (control). A bar like the "
        "last one means that the cluster is not related to the class.",
    )
