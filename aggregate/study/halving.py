"""halving.csv and halving_summary.csv: how a study within a budget came to its choices, and what it chose how often.

Every fold searches the grid anew within its training patients, so that its test patients judge the whole procedure; the
honest estimate stands in selection.csv. A single configuration has no estimate of its own here: most of them dropped out
before they were trained on all patients.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.config import AggregateConfig
from aggregate.fitting.cross_validation import OutOfFold
from aggregate.planning.study_budget import NOT_TRIED
from aggregate.planning.study_grid import HALVING, YES, Configuration, factors_of, grid_of
from aggregate.predictions import Predictions
from aggregate.study.basis import StudyBasis
from aggregate.study.configurations import FACTOR_LEVEL, level_cells
from aggregate.study.selection import BASELINE, HALVED, SELECTION
from aggregate.study_section import StudySection
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import interval_cells
from aggregate.tables.shared_columns import FOLD, MODEL, REPEAT
from aggregate.tables.table import Column, Kind, Step, Table

_SCORE = "score of rung {}"
HALVING_TABLE = Table(
    "halving.csv",
    "repeat x fold x configuration tried within a budget",
    (
        REPEAT,
        FOLD,
        MODEL,
        Column("rung", "Highest rung that the configuration reached in the fold, from 1", "", Kind.COUNT),
        Column("n", "Patients that it was trained on there", "patients", Kind.COUNT),
        Column(
            "score of rung <rung>",
            "Mean score on the inner folds: the negative of the log loss, or macro AUC (`select_by`); higher is better; empty "
            "above its highest rung, and where an inner fold had no training patient of some class that it sees, which "
            "counts as the worst score",
            "",
            Kind.NUMBER,
        ),
        Column("seconds", "Of all its fits and predictions on the rungs of the fold", "s", Kind.NUMBER),
        Column("picked", "yes for the one that was best on the last rung", "", Kind.YES_NO),
    ),
    place=500,
    step=Step.STUDY,
)
HALVING_SUMMARY = Table(
    "halving_summary.csv",
    "configuration of a study within a budget",
    (
        Column(
            "rank",
            "By how often it was picked, then by rung, then by score; empty if not tried",
            "",
            Kind.COUNT,
        ),
        MODEL,
        FACTOR_LEVEL,
        Column("tried", "yes, or why not"),
        Column("n_picked", "Folds that picked it", "", Kind.COUNT),
        Column("n_folds", "Folds that tried it, over all repeats", "", Kind.COUNT),
        Column("rung", "Highest rung reached, mean over the folds", "", Kind.NUMBER),
        Column(
            "score",
            "Score on the inner folds of its highest rung, mean over the folds where it has one",
            "",
            Kind.NUMBER,
        ),
        Column("seconds", "On the rungs of a fold, mean over the folds", "s", Kind.NUMBER),
    ),
    place=510,
    step=Step.STUDY,
    notes=(
        "Scores of different rungs rest on different numbers of training patients. No estimate of a single configuration is "
        "given, since most were not trained on all patients; selection.csv has the estimate of the procedure."
    ),
)


def write_halving(tables: ResultTables, result: OutOfFold) -> None:
    """Write halving.csv."""
    rows = list(halving_rows(result))
    n_rungs = max(row["rung"] for row in rows)
    numbers = [str(rung) for rung in range(1, n_rungs + 1)]
    empty = {_SCORE.format(rung): None for rung in numbers}
    tables.write(HALVING_TABLE, [{**empty, **row} for row in rows], {"rung": numbers})


def halving_rows(result: OutOfFold) -> Iterator[Mapping[str, Any]]:
    """Yield how every configuration fared in every fold, in the order of the grid."""
    repeats = sorted({fold.repeat for fold in result.folds})
    for fold, fit in zip(result.folds, result.fits[HALVING], strict=True):
        for one in fit.search:
            yield {
                "repeat": repeats.index(fold.repeat),
                "fold": fold.fold,
                "model": one["model"],
                "rung": len(one["patients"]),
                "n": one["patients"][-1],
                **{_SCORE.format(rung): score for rung, score in enumerate(one["scores"], 1)},
                "seconds": one["seconds"],
                "picked": one["is_picked"],
            }


def rebuild_halving_tables(
    tables: ResultTables, config: AggregateConfig, study: StudySection, predictions: Predictions
) -> None:
    """Write what follows from halving.csv and the predictions anew.

    Raises:
        ResultsError: halving.csv is missing or does not fit.
    """
    rows = tables.read(HALVING_TABLE)
    grid = grid_of(config)
    tables.write(HALVING_SUMMARY, summary_rows(rows, grid), {"factor": factors_of(study)})
    basis = StudyBasis(predictions, {}, (), config.aggregate.statistics, study)
    tables.write(SELECTION, _selection_rows(basis, [row["model"] for row in rows if row["picked"]]))


def summary_rows(
    rows: Iterable[Mapping[str, Any]], grid: Sequence[Configuration]
) -> Iterator[Mapping[str, Any]]:
    """Yield every configuration of the grid: those tried by their rank, then the others."""
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(row)
    levels = {one.name: one.levels for one in grid}
    found = [(name, _means(by_model[name])) for name in levels if name in by_model]
    found.sort(key=lambda one: (-one[1]["n_picked"], -one[1]["rung"], -_or_worst(one[1]["score"])))
    for rank, (name, means) in enumerate(found, 1):
        yield {"rank": rank, "model": name, **level_cells(levels[name]), "tried": YES, **means}
    nothing = {"n_picked": 0, "n_folds": 0, "rung": None, "score": None, "seconds": None}
    for one in grid:
        if one.name not in by_model:
            yield {"rank": None, "model": one.name, **level_cells(one.levels), "tried": NOT_TRIED, **nothing}


def _or_worst(score: float | None) -> float:
    return -np.inf if score is None else score


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [row[_SCORE.format(row["rung"])] for row in rows]
    known = [score for score in scores if score is not None]
    return {
        "n_picked": sum(row["picked"] for row in rows),
        "n_folds": len(rows),
        "rung": float(np.mean([row["rung"] for row in rows])),
        "score": float(np.mean(known)) if known else None,
        "seconds": float(np.mean([row["seconds"] for row in rows])),
    }


def _selection_rows(basis: StudyBasis, picked: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    n_picked, n = len(set(picked)), len(basis.predictions.patient_ids)
    names = f"{n_picked} different" if n_picked > 1 else picked[0]
    for model, estimate in basis.estimates.items():
        what, name = (HALVED, names) if model == HALVING else (BASELINE, model)
        yield {"what": what, "model": name, **interval_cells(estimate), "n": n}
