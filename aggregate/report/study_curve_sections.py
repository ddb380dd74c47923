"""The sections of a study on more patients, fewer phases and slices, and classes that were not trained on."""

from collections.abc import Sequence

import numpy as np

from aggregate.report import study_curve_figures as figures
from aggregate.report.elements import Element, Note, Section, Table, absent, cell, reasons, text
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.learning_curve import LEARNING_CURVE
from aggregate.study.projection import PROJECTION
from aggregate.study.robustness import ROBUSTNESS
from aggregate.tables.predictions import PROBABILITY_PREFIX
from aggregate.tables.rows import Row

_DIFFERENCE = ("difference", "difference_low", "difference_high")


def learning_curve_section(folder: ResultsFolder) -> Section:
    """Return the section on more patients."""
    rows = folder.rows(LEARNING_CURVE)
    elements: list[Element] = [
        absent("The learning curve", "the configuration has no table [aggregate.study.learning_curve]")
    ]
    if rows:
        cells = [
            [
                row["model"],
                text(row["n_train"]),
                "extrapolated" if row["extrapolated"] else "trained",
                cell(row),
            ]
            for row in rows
        ]
        elements = [
            figures.learning_curves(folder),
            Table(
                ("configuration", "training patients", "", f"macro AUC [{folder.level} CI]"),
                cells,
                f"Training patients of one fold, mean over the folds.{reasons(rows)}",
                LEARNING_CURVE.file,
                emphasised=frozenset(i for i, row in enumerate(rows) if not row["extrapolated"]),
            ),
            Note(
                "The extrapolated rows are a planning aid: they hold if the curve goes on as a power law, which these points "
                "cannot show. Their intervals tell the scatter of the test patients only. Plan with the lower end."
            ),
        ]
    return Section(
        "learning_curve",
        "How many more patients?",
        "Performance against the number of patients that a model was trained on. Where the curve still rises, more patients "
        "would help; where it is flat, something else is lacking.",
        elements,
    )


def robustness_section(folder: ResultsFolder) -> Section:
    """Return the section on fewer phases and slices."""
    rows = folder.rows(ROBUSTNESS)
    elements: list[Element] = [
        absent("Robustness", "the configuration has no table [aggregate.study.robustness]")
    ]
    if rows:
        cells = [
            [row["model"], figures.change_in_words(row), cell(row), cell(row, _DIFFERENCE)] for row in rows
        ]
        elements = [
            figures.robustness(folder),
            Table(
                ("configuration", "test patients have", f"macro AUC [{folder.level} CI]", "minus everything"),
                cells,
                "The same fitted models, asked about test patients with less to see; differences are paired by patient and not "
                f"adjusted for their number.{reasons(rows)}",
                ROBUSTNESS.file,
            ),
        ]
    return Section(
        "robustness",
        "What if a phase or slices are missing?",
        "Performance of the trained models as phases or slices are taken away from the test patients only.",
        elements,
    )


def projection_section(folder: ResultsFolder) -> Section:
    """Return the section on classes that no model was trained on."""
    rows = folder.rows(PROJECTION)
    elements: list[Element] = [
        absent("The projection", "no class is named in `project` of [aggregate.study]")
    ]
    if rows:
        elements = [figures.projection(folder, _shown(folder)), _projected_table(folder)]
    return Section(
        "projection",
        "Which class do patients of a class that was not trained on resemble?",
        "Patients of these classes were in no training set and in no AUC of the study; every outer model scored them. A score says "
        "what a patient resembles to the model, not what the tumour is.",
        elements,
    )


def _shown(folder: ResultsFolder) -> str:
    """Return the first configuration of the leaderboard, or of the table where there is none."""
    ranked = [row["model"] for row in folder.rows(LEADERBOARD) if row["rank"] is not None]
    known = distinct(folder.rows(PROJECTION), "model")
    return str(next((name for name in ranked if name in known), known[0]))


def _projected_table(folder: ResultsFolder) -> Table:
    rows = folder.rows(PROJECTION, projected=True)
    trained = figures.trained_classes(rows)
    cells = []
    for model, label in dict.fromkeys((row["model"], row["label"]) for row in rows):
        of_both = [row for row in rows if (row["model"], row["label"]) == (model, label)]
        told = [_resembling(of_both, trained, name) for name in trained]
        cells.append([model, f"{label} (n = {len(of_both)})", *told])
    return Table(
        ("configuration", "reference", *(f"most like {name}" for name in trained)),
        cells,
        "Patients whose most probable class it is, and the median probability of the class. Points of the figure: the "
        "configuration that is first in the leaderboard.",
        PROJECTION.file,
    )


def _resembling(rows: Sequence[Row], trained: Sequence[str], name: str) -> str:
    table = np.array([[row[f"{PROBABILITY_PREFIX}{one}"] for one in trained] for row in rows])
    count = int(np.sum(table.argmax(axis=1) == trained.index(name)))
    return f"{count} ({np.median(table[:, trained.index(name)]):.2f})"


SECTIONS = (learning_curve_section, robustness_section, projection_section)
