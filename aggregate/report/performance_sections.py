"""The sections on performance."""

from collections.abc import Sequence

import numpy as np

from aggregate.predictions import Predictions
from aggregate.report import performance_figures as figures
from aggregate.report.elements import (
    METRIC_NAMES,
    Element,
    Section,
    Table,
    absent,
    cell,
    interval,
    p_text,
    reasons,
    text,
)
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.tables.calibration import CALIBRATION
from aggregate.tables.comparisons import COMPARISONS
from aggregate.tables.confounders import CONFOUNDERS
from aggregate.tables.decisions import DECISION_CURVE, THRESHOLDS
from aggregate.tables.null import NULL_SUMMARY
from aggregate.tables.performance import CONFUSION, PERFORMANCE
from aggregate.tables.predictions import PREDICTIONS
from aggregate.tables.rows import ALL, Row, numeric
from aggregate.tables.subgroups import SUBGROUPS

_MOST_COMPARISONS = 12
_MOST_MODELS = 25
"""Models and baselines in sight."""
_MOST_MISTAKES = 30
_METRICS = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "average_precision": "average precision",
}


def performance_section(folder: ResultsFolder) -> Section:
    """Return discrimination of all models, and every class of the shown one."""
    rows = folder.rows(PERFORMANCE)
    elements: list[Element] = []
    if rows:
        elements += [figures.forest_of_auc(folder), _overall(folder)]
        elements += [_per_class(folder, model) for model in folder.compared[:1]]
    else:
        elements.append(absent("The performance", "performance.csv is missing"))
    return Section(
        "performance",
        "Performance",
        f"How well does each model separate the classes on patients that it was not trained on? Brackets are "
        f"{folder.level} confidence intervals over patients.",
        elements,
    )


def _overall(folder: ResultsFolder) -> Table:
    shown = ("auc", "balanced_accuracy", "macro_f1", "kappa", "brier")
    rows = {(r["model"], r["metric"]): r for r in folder.rows(PERFORMANCE, **{"class": "macro"})}
    cells = []
    told = dict.fromkeys(folder.plain, figures.PLAIN) | dict.fromkeys(folder.baselines, figures.BASELINE)
    for model in (*folder.models, *told):
        name = f"{model}{told.get(model, '')}"
        auc = rows[model, "auc"]
        spread = numeric(auc["sd_over_repeats"])
        cells.append(
            [name, text(auc["n"]), *(cell(rows.get((model, metric))) for metric in shown),
             "" if spread is None else f"{spread:.3f}"]
        )  # fmt: skip
    columns = (
        "model",
        "n",
        "macro AUC",
        "balanced accuracy",
        "macro F1",
        "kappa",
        "Brier",
        "SD of AUC over repeats",
    )
    return Table(
        columns,
        cells,
        "All models. The last column is the variation of the AUC when the patients are only assigned to other folds."
        + reasons(row for (_, metric), row in rows.items() if metric in shown),
        PERFORMANCE.file,
        frozenset(i for i, model in enumerate(folder.models) if model in folder.compared[:1]),
        n_first=_MOST_MODELS,
    )


def _per_class(folder: ResultsFolder, model: str) -> Table:
    rows = {(r["class"], r["metric"]): r for r in folder.rows(PERFORMANCE, model=model)}
    cells = []
    for name in folder.classes:
        auc = rows.get((name, "auc"))
        n = f"{auc['n_positive']} / {auc['n']}" if auc else ""
        cells.append([name, n, *(cell(rows.get((name, metric))) for metric in _METRICS)])
    return Table(
        ("class", "n of class / all", *_METRICS.values()),
        cells,
        f"Each class against the others, model {model}; the class with the highest probability is the prediction. "
        "Predictive values hold for the class shares of this cohort only."
        + reasons(
            row for (name, metric), row in rows.items() if name in folder.classes and metric in _METRICS
        ),
        PERFORMANCE.file,
    )


def curves_section(folder: ResultsFolder) -> Section:
    """Return ROC and precision-recall curves."""
    elements: list[Element] = [absent("Curves", "predictions.csv or performance.csv is missing")]
    predictions = folder.predictions
    if predictions is not None and folder.compared:
        elements = [
            figures.roc_curves(folder, predictions, folder.compared),
            figures.precision_recall(predictions, folder.compared),
        ]
    return Section(
        "curves",
        "ROC and precision-recall curves",
        "Trade-off of sensitivity against specificity, and against positive predictive value.",
        elements,
    )


def confusion_section(folder: ResultsFolder) -> Section:
    """Return confusion matrices and the patients misclassified in every repeat."""
    elements: list[Element] = []
    if folder.rows(CONFUSION) and folder.compared:
        elements.append(figures.confusion(folder, folder.compared))
    else:
        elements.append(absent("The confusion matrix", "confusion.csv or performance.csv is missing"))
    predictions = folder.predictions
    if predictions is not None and folder.shown:
        elements.append(_mistakes(predictions, folder.shown.name))
    return Section(
        "confusion",
        "Confusion and misclassified patients",
        "Which classes are confused with each other, and which patients should be reviewed.",
        elements,
    )


def _mistakes(predictions: Predictions, model: str) -> Table:
    probabilities = predictions.probabilities[model]
    called = probabilities.argmax(axis=2)
    always = (called != predictions.labels).all(axis=0)
    mean = probabilities.mean(axis=0)
    surest = sorted(np.flatnonzero(always), key=lambda i: mean[i, predictions.labels[i]])
    cells = [
        [
            predictions.patient_ids[i],
            predictions.classes[predictions.labels[i]],
            predictions.classes[mean[i].argmax()],
            *(f"{p:.2f}" for p in mean[i]),
            predictions.phases[i],
            str(predictions.n_slices[i]),
        ]
        for i in surest[:_MOST_MISTAKES]
    ]
    return Table(
        (
            "patient",
            "reference",
            "predicted",
            *(f"p {name}" for name in predictions.classes),
            "phases",
            "slices",
        ),
        cells,
        f"{len(surest)} of {len(always)} patients are misclassified in every repeat by {model}; the most confident errors first"
        + (f", {_MOST_MISTAKES} of them shown." if len(surest) > _MOST_MISTAKES else "."),
        PREDICTIONS.file,
    )


def calibration_section(folder: ResultsFolder) -> Section:
    """Return reliability, slope and intercept."""
    elements: list[Element] = [absent("Calibration", "calibration.csv is missing")]
    if folder.rows(CALIBRATION) and folder.compared:
        elements = [figures.calibration(folder, folder.compared), _calibration_table(folder)]
    return Section(
        "calibration",
        "Calibration",
        "Do predicted probabilities agree with observed frequencies? Slope 1 and intercept 0 are ideal; a slope below 1 "
        "means overconfident probabilities.",
        elements,
    )


def _calibration_table(folder: ResultsFolder) -> Table:
    measures = ("slope", "intercept", "ece", "brier")
    cells = []
    for model in folder.compared[:2]:
        rows = {(r["class"], r["measure"]): r for r in folder.rows(CALIBRATION, model=model)}
        cells += [
            [model, name, *(cell(rows.get((name, measure))) for measure in measures)]
            for name in folder.classes
        ]
    return Table(
        ("model", "class", "slope", "intercept", "expected calibration error", "Brier"),
        cells,
        "Calibration per class against the others.",
        CALIBRATION.file,
    )


def decision_section(folder: ResultsFolder) -> Section:
    """Return thresholds and the decision curve."""
    elements: list[Element] = []
    if folder.rows(DECISION_CURVE) and folder.compared:
        elements.append(figures.decision_curve(folder, folder.compared))
    if folder.rows(THRESHOLDS) and folder.shown:
        elements.append(_thresholds(folder, folder.shown.name))
    return Section(
        "decision",
        "Thresholds and decision curve",
        "Performance when a probability is turned into a decision. Thresholds are chosen on tune patients and applied to "
        "test patients.",
        elements or [absent("Decision analysis", "decision_curve.csv and thresholds.csv are missing")],
    )


def _thresholds(folder: ResultsFolder, model: str) -> Table:
    cells = []
    for row in folder.rows(THRESHOLDS, model=model, fold=ALL):
        rates = [
            cell(row, (name, f"{name}_ci_low", f"{name}_ci_high")) for name in ("sensitivity", "specificity")
        ]
        limit = numeric(row["threshold"])
        shown = "not estimable" if limit is None else f"{limit:.2f}"
        rests_on = _rests_on(folder, model, str(row["class"]))
        cells.append(
            [row["class"], row["rule"], shown, rests_on, *rates, f"{row['n_positive']} / {row['n']}"]
        )
    return Table(
        ("class", "rule", "median threshold", "chosen on, per fold", "sensitivity", "specificity", "tested: n of class / all"),
        cells,
        f"Sensitivity and specificity of {model} on test patients at thresholds chosen on the tune patients of the same fold. A "
        "threshold that rests on few patients of the class is hardly known.",
        THRESHOLDS.file,
    )  # fmt: skip


def _rests_on(folder: ResultsFolder, model: str, name: str) -> str:
    """Return how many patients of the class, of how many, the threshold of a fold was chosen on, such as "3 to 4 of 11"."""
    rows = [r for r in folder.rows(THRESHOLDS, **{"model": model, "class": name}) if r["fold"] != ALL]
    return " of ".join(
        _from_to([r[column] for r in rows if r[column] is not None])
        for column in ("n_positive_chosen_on", "n_chosen_on")
    )


def _from_to(counts: Sequence[int]) -> str:
    if not counts:
        return "\N{EN DASH}"
    return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def comparisons_section(folder: ResultsFolder) -> Section:
    """Return the differences between models."""
    every = folder.rows(COMPARISONS, **{"class": "macro"})
    rows = [row for row in every if row["primary"] or row["metric"] == "auc"]
    elements: list[Element] = [absent("Comparisons", "comparisons.csv is missing or holds no macro AUC")]
    if rows:
        elements = [_comparisons(folder, rows)]
    elements += _permutations(folder)
    return Section(
        "comparisons",
        "Are the differences real?",
        "Paired comparisons on the same patients. An interval that contains 0 means that the difference was not "
        "shown.",
        elements,
    )


def _permutations(folder: ResultsFolder) -> list[Element]:
    """Return the permutation control if `run --null` wrote it, models ranked by AUC before baselines."""
    rows = {row["model"]: row for row in folder.rows(NULL_SUMMARY)}
    if not rows:
        return []
    cells = []
    for model in models_of(folder, folder.rows(NULL_SUMMARY)):
        row = rows[model]
        observed, mean, error = (
            numeric(row[name]) for name in ("observed_auc", "mean_auc", "standard_error")
        )
        p = numeric(row["p_value"])
        cells.append(
            [model, text(row["n"]), interval(observed, None, None), interval(mean, None, None, 3),
             "" if error is None else f"{error:.3f}", text(row["n_permutations"]), "" if p is None else f"{p:.3f}"]
        )  # fmt: skip
    return [
        Table(
            ("model", "n", "macro AUC", "mean AUC on shuffled labels", "standard error", "permutations", "p"),
            cells,
            "Permutation control: the same pipeline on permuted labels, which gives an AUC of 0.5 without leakage. "
            "p is (1 + permutations that reach the observed AUC) / (1 + permutations), not adjusted for the number of models; "
            "null.csv lists each permutation.",
            NULL_SUMMARY.file,
        )
    ]


def _comparisons(folder: ResultsFolder, rows: Sequence[Row]) -> Table:
    configured = set(folder.models)
    ordered = sorted(
        rows,
        key=lambda r: (
            not r["primary"],
            -len({r["model_a"], r["model_b"]} & configured),
        ),
    )
    cells = []
    for row in ordered[:_MOST_COMPARISONS]:
        value, low, high = (numeric(row[name]) for name in ("difference", "ci_low", "ci_high"))
        cells.append(
            [f"{row['model_a']} − {row['model_b']}", METRIC_NAMES[row["metric"]], row["test"], interval(value, low, high, 3),
             p_text(row["p_value"]), p_text(row["p_adjusted"]),
             text(row["n_comparisons"])]
        )  # fmt: skip
    more = f" {len(cells)} of {len(rows)} rows; the CSV file holds all." if len(rows) > len(cells) else ""
    return Table(
        ("models", "macro metric", "test", "difference", "p", "adjusted p", "comparisons made"),
        cells,
        f"Differences between models; the primary comparison, if one was declared, is printed in bold.{more}",
        COMPARISONS.file,
        frozenset(i for i, row in enumerate(ordered) if bool(row["primary"])),
    )


def subgroups_section(folder: ResultsFolder) -> Section:
    """Return performance in subgroups, and the predictive value of confounders."""
    elements: list[Element] = []
    rows = [
        row
        for row in folder.rows(SUBGROUPS, metric="auc", **{"class": "macro"})
        if row["model"] in folder.compared[:1]
    ]
    if rows:
        cells = [[r["subgroup"], r["level"], text(r["n"]), cell(r)] for r in rows]
        caption = f"Macro AUC of {folder.compared[0]} in subgroups.{reasons(rows)}"
        elements.append(Table(("subgroup", "level", "n", "macro AUC"), cells, caption, SUBGROUPS.file))
    confounders = folder.rows(CONFOUNDERS, metric="auc", **{"class": "macro"})
    if confounders:
        cells = [[r["confounder"], text(r["n"]), cell(r)] for r in confounders]
        caption = (
            "How well the label is predicted from a fact other than the tumour's appearance (0.5 is chance)."
        )
        elements.append(Table(("confounder", "n", "macro AUC"), cells, caption, CONFOUNDERS.file))
    return Section(
        "subgroups",
        "Subgroups and confounders",
        "Is performance the same in every centre, for small tumours, with missing phases? And which confounders could "
        "the model have used instead of the tumour?",
        elements or [absent("Subgroups", "subgroups.csv is missing")],
    )


def models_of(folder: ResultsFolder, rows: Sequence[Row]) -> list[str]:
    """Return the models named in rows, the configuration's first, controls last."""
    present = distinct(rows, "model")
    return [model for model in folder.models if model in present] + [
        model for model in present if model not in folder.models
    ]


SECTIONS = (
    performance_section,
    curves_section,
    confusion_section,
    calibration_section,
    decision_section,
    comparisons_section,
    subgroups_section,
)
"""In the order of the page."""
