"""The sections of the report on survival, a number or a grade."""

from collections.abc import Callable, Iterator

import numpy as np

from aggregate.outcomes.predictions import DRAWN
from aggregate.outcomes.report import figures
from aggregate.outcomes.report.view import CHANCE, METRIC_WORDS, OutcomeView
from aggregate.outcomes.tables.comparisons import OUTCOME_COMPARISONS
from aggregate.outcomes.tables.performance import OUTCOME_PERFORMANCE
from aggregate.outcomes.tables.survival import EVERYBODY, RISK_GROUPS, SURVIVAL_CALIBRATION
from aggregate.report import overview_sections as overview
from aggregate.report.elements import (
    Element,
    Note,
    Section,
    Table,
    absent,
    cell,
    p_text,
    reasons,
    text,
)
from aggregate.report.folder import ResultsFolder
from aggregate.report.training_sections import training_section
from aggregate.tables.rows import Row, numeric

_MOST_COMPARISONS = 15
_SHOWN_IN_FIGURES = 2
_DIFFERENCE = ("difference", "ci_low", "ci_high")
_IN_THE_FIGURE = ("limit_low", "limit_high")
_SURVIVAL = ("survival", "ci_low", "ci_high")
SUBTITLES = {
    "survival": "Prognosis from multiphasic CT: out-of-fold risk, survival and its calibration.",
    "regression": "A number predicted from multiphasic CT: out-of-fold agreement.",
    "ordinal": "A grade predicted from multiphasic CT: out-of-fold agreement.",
}
"""Task -> the line below the title."""


def sections_of(folder: ResultsFolder) -> tuple[Callable[[ResultsFolder], Section], ...]:
    """Return the sections of a results folder of an outcome; none where classes were predicted."""
    if folder.task == "classification":
        return ()
    own = {
        "survival": (risk_groups_section, survival_calibration_section),
        "regression": (agreement_section,),
        "ordinal": (confusion_section,),
    }[folder.task]
    begin = (summary_section, overview.cohort_section, performance_section)
    return (*begin, *own, comparisons_section, training_section, overview.run_section)


def summary_section(folder: ResultsFolder) -> Section:
    """Return whether it works, how it compares, and where the ceiling is."""
    view = OutcomeView(folder)
    elements: list[Element] = [absent("The performance", "outcome_performance.csv is missing")]
    if view.rows:
        elements = [Note(" ".join(_works(view)), lead="Does it work?"), *_declared(view), *_patients(view)]
    return Section(
        "summary",
        "In short",
        f"Brackets are {folder.level} confidence intervals over patients, with the models fixed. Every patient is predicted by models "
        "that were not trained on that patient.",
        elements,
    )


def _works(view: OutcomeView) -> Iterator[str]:
    row, chance = view.main_rows[view.shown], CHANCE[view.main]
    low = numeric(row["ci_low"])
    verdict = (
        "" if low is None else
        f", which is above chance ({chance:g})." if low > chance else f", which does not exclude chance ({chance:g})."
    )  # fmt: skip
    yield f"{view.shown} ({view.shown_rule}) reaches a {METRIC_WORDS[view.main]} of {cell(row)}{verdict or '.'}"
    beside = [m for m in ("tumour_size", "covariates") if m in view.main_rows and m != view.shown]
    if beside:
        told = " and ".join(f"{model} {cell(view.main_rows[model])}" for model in beside)
        yield f"Without looking at the image: {told}."
    if DRAWN in view.main_rows:
        yield (
            f"These outcomes are synthetic: what they were drawn from reaches {cell(view.main_rows[DRAWN])}, which no model can beat but "
            "by chance."
        )
    best = next(iter(view.main_rows))
    if best != view.shown:
        yield f"The largest value of the {len(view.models)} models and baselines is that of {best}, {cell(view.main_rows[best])}: optimistic, being the largest."


def _declared(view: OutcomeView) -> Iterator[Note]:
    row = view.primary
    if row is None:
        yield Note(
            "No comparison was declared before the results: all of them are exploratory.",
            lead="Is it better?",
        )
        return
    difference = cell(row, _DIFFERENCE, digits=3)
    yield Note(
        f"The declared comparison: {row['model_a']} minus {row['model_b']} is {difference} in {METRIC_WORDS[view.main]}, "
        f"p = {p_text(row['p_value']) or 'not estimable'}.",
        lead="Is it better?",
    )


def _patients(view: OutcomeView) -> Iterator[Note]:
    outcome = view.outcome
    if view.folder.task != "survival":
        return
    time, event = outcome.values["time"], outcome.values["event"]
    after = ", ".join(f"{int((time >= horizon).sum())} at {horizon:g}" for horizon in view.section.horizons)
    yield Note(
        f"{int(event.sum())} of {len(outcome)} patients had the event; still observed: {after} ({view.unit}). Uno's C-index is truncated "
        f"at {view.section.horizons[-1]:g}; the censoring is estimated from all patients together and assumed to tell nothing of the risk.",
        lead="How much is known?",
    )


def performance_section(folder: ResultsFolder) -> Section:
    """Return the main metric as a figure, and every metric of every model."""
    view = OutcomeView(folder)
    elements: list[Element] = [absent("The performance", "outcome_performance.csv is missing")]
    if view.rows:
        elements = [figures.forest_of_models(view), _every_metric(view)]
    return Section(
        "performance",
        "Performance",
        f"How well does each model foretell the outcome of patients that it was not trained on? {view.metrics[view.main].meaning}",
        elements,
    )


def _every_metric(view: OutcomeView) -> Table:
    def heading(metric: str, at: str) -> str:
        return (
            f"{METRIC_WORDS[metric]} {at}".strip()
            if metric in ("auc_at", "brier_at", "threshold_auc")
            else METRIC_WORDS[metric]
        )

    models = list(view.main_rows)
    keys = [key for key in view.keys if key[0] not in _IN_THE_FIGURE]
    cells = [[model, *(cell(view.rows.get((model, *key))) for key in keys)] for model in models]
    means = " ".join(
        f"{METRIC_WORDS[name]}: {metric.meaning}"
        for name, metric in view.metrics.items()
        if name not in (view.main, *_IN_THE_FIGURE)
    )
    return Table(
        ("model", *(heading(*key) for key in keys)),
        cells,
        f"All models, {len(view.outcome)} patients. {means}{reasons(view.rows.values())}",
        OUTCOME_PERFORMANCE.file,
        frozenset(i for i, model in enumerate(models) if model == view.shown),
        n_first=25,
    )


def risk_groups_section(folder: ResultsFolder) -> Section:
    """Return the curves of the risk groups with numbers at risk, and survival at the horizons."""
    view = OutcomeView(folder)
    elements: list[Element] = [absent("The curves", "risk_groups.csv is missing")]
    if folder.rows(RISK_GROUPS):
        elements = [figures.kaplan_meier(view, model) for model in _two(view)]
        elements.append(_groups_table(view))
    return Section(
        "risk-groups",
        "Risk groups",
        "Do patients who are said to be at high risk fare worse? A step is an event; the band is the uncertainty of the curve, which is "
        "large where few are at risk.",
        elements,
    )


def _two(view: OutcomeView) -> list[str]:
    """Return the shown model and, if it is another one, the best of the configuration."""
    return list(dict.fromkeys((view.shown, next(iter(view.main_rows)))))[:_SHOWN_IN_FIGURES]


def _groups_table(view: OutcomeView) -> Table:
    cells = []
    for model in view.models:
        rows = view.folder.rows(RISK_GROUPS, model=model)
        for group in dict.fromkeys(str(row["group"]) for row in rows):
            of_group = [row for row in rows if row["group"] == group]
            is_one_group = bool(of_group[0]["note"]) and group != EVERYBODY
            if is_one_group or (group == EVERYBODY and model != view.models[-1]):
                continue
            named = "every patient" if group == EVERYBODY else model
            cells.append([named, group, text(of_group[0]["n"]), text(of_group[0]["n_events"]), *(cell(row, _SURVIVAL) for row in of_group),
                          "" if group == EVERYBODY else p_text(of_group[0]["log_rank_p"])])  # fmt: skip
    horizons = (f"survival at {horizon:g}" for horizon in view.section.horizons)
    return Table(
        ("model", "risk", "n", "events", *horizons, "log-rank p"),
        cells,
        "Observed survival by risk group. The log-rank p is exploratory: it takes the groups as given and is not adjusted for the number "
        "of models.",
        RISK_GROUPS.file,
        n_first=25,
    )


def survival_calibration_section(folder: ResultsFolder) -> Section:
    """Return predicted and observed survival at the horizons."""
    view = OutcomeView(folder)
    elements: list[Element] = [absent("Calibration", "survival_calibration.csv is missing")]
    if folder.rows(SURVIVAL_CALIBRATION):
        elements = [figures.calibration(view, _two(view)), _calibration_table(view)]
    return Section(
        "calibration",
        "Calibration of survival",
        "Of patients with a predicted survival of 70 %, do 70 % survive to the horizon?",
        elements,
    )


def _calibration_table(view: OutcomeView) -> Table:
    rows = [
        r for r in view.folder.rows(SURVIVAL_CALIBRATION, group=EVERYBODY) if r["model"] in view.main_rows
    ]
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(str(row["model"]), []).append(row)
    cells = [
        [model, *(f"{float(row['predicted']):.2f}" for row in by_model[model])] for model in view.main_rows
    ]
    cells.append(["observed", *(cell(row, _SURVIVAL) for row in rows[: len(view.section.horizons)])])
    return Table(
        ("model", *(f"mean predicted survival at {horizon:g}" for horizon in view.section.horizons)),
        cells,
        "Mean predicted survival of all patients beside the observed one: whether a model is too hopeful or too gloomy as a whole.",
        SURVIVAL_CALIBRATION.file,
        n_first=25,
    )


def agreement_section(folder: ResultsFolder) -> Section:
    """Return observed against predicted numbers."""
    view = OutcomeView(folder)
    elements: list[Element] = [absent("Agreement", "outcome_performance.csv is missing")]
    if view.rows:
        elements = [figures.agreement(view, view.shown)]
    return Section(
        "calibration",
        "Agreement",
        "Do predicted and observed numbers agree, and where do they not?",
        elements,
    )


def confusion_section(folder: ResultsFolder) -> Section:
    """Return which grades are taken for which."""
    view = OutcomeView(folder)
    elements: list[Element] = [absent("The confusion of grades", "outcome_performance.csv is missing")]
    if view.rows:
        counts = np.bincount(view.outcome.codes, minlength=len(view.section.order))
        told = ", ".join(f"{name} {n}" for name, n in zip(view.section.order, counts, strict=True))
        elements = [figures.confusion(view, _two(view)), Note(f"Patients by grade: {told}.")]
    return Section(
        "confusion", "Confusion of grades", "Which grades are taken for which, and how far off?", elements
    )


def comparisons_section(folder: ResultsFolder) -> Section:
    """Return the differences between models."""
    view = OutcomeView(folder)
    rows = view.of_comparisons()
    elements: list[Element] = [absent("Comparisons", "outcome_comparisons.csv is missing")]
    if rows:
        cells = [
            [f"{row['model_a']} − {row['model_b']}", cell(row, _DIFFERENCE, digits=3),
             p_text(row["p_value"]), p_text(row["p_adjusted"]), text(row["n_comparisons"])]
            for row in rows
        ]  # fmt: skip
        elements = [
            Table(
                ("models", f"difference in {METRIC_WORDS[view.main]}", "p", "adjusted p", "comparisons made"),
                cells,
                "Paired differences on the same resamples of the patients; the primary comparison, if one was declared, is printed in bold. "
                "All others are exploratory.",
                OUTCOME_COMPARISONS.file,
                frozenset(i for i, row in enumerate(rows) if row["primary"]),
                n_first=_MOST_COMPARISONS,
            )
        ]
    return Section(
        "comparisons",
        "Are the differences real?",
        "Paired comparisons on the same patients. An interval that contains 0 means that the difference was not shown.",
        elements,
    )
