"""selection.csv and picks.csv: what picking the best of the grid is worth, honestly and as it looks.

In each fold the configuration is picked that is best on the tune patients of that fold, who are not tested there; its
predictions of the test patients are kept. Over all folds these make one set of out-of-fold predictions, of the procedure "pick
the best of this grid" (nested selection; Cawley and Talbot 2010, JMLR 11:2079). The largest estimate of the leaderboard is
chosen on the patients that it is measured on, and is too high. The difference of both is an upper bound of that on average, since
a choice on the few tune patients of a fold also picks worse configurations.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.statistics.intervals import Estimate
from aggregate.statistics.measures import MACRO, Measurement, brier_losses, macro_auc
from aggregate.statistics.resamples import Sample
from aggregate.statistics.training import design_effect
from aggregate.study.basis import StudyBasis, StudyTable
from aggregate.study.leaderboard import ranking
from aggregate.study.paired import losses_of, paired_difference
from aggregate.tables.performance import estimate_of, group_sizes
from aggregate.tables.rows import interval_cells, or_not_estimable
from aggregate.tables.shared_columns import FOLD, REPEAT, N, interval
from aggregate.tables.table import Column, Kind, Step
from pipeline.errors import FoldError

BEST_ROW = "best row of the leaderboard"
PICKED = "picked on the tune patients of each fold"
OPTIMISM = "best row minus picked"
TYPICAL = "mean of all configurations"
HALVED = "picked by successive halving in each fold"
BASELINE = "baseline"


def picked(basis: StudyBasis) -> NDArray[np.intp]:
    """Return the number of the configuration that is picked in each fold (folds,); of equals the first.

    Raises:
        FoldError: no configuration has a score on the tune patients of a fold.
    """
    unknown = np.flatnonzero(np.isnan(basis.tune_scores).all(axis=0)).tolist()
    if unknown:
        repeat, fold = basis.places[unknown[0]]
        raise FoldError(
            f"repeat {repeat}, fold {fold}: no configuration has a score on the tune patients, so none can be picked; give "
            "patients of every class the role tune in this fold and run the study again"
        )
    return np.asarray(np.nanargmax(basis.tune_scores, axis=0), dtype=np.intp)


def picked_probabilities(basis: StudyBasis) -> NDArray[np.float64]:
    """Return the out-of-fold probabilities of what is picked in each fold (repeats, n, classes)."""
    predictions = basis.predictions
    result = np.full_like(predictions.probabilities[basis.names[0]], np.nan)
    for (repeat, fold), number in zip(basis.places, picked(basis), strict=True):
        tested = predictions.fold[repeat] == fold
        result[repeat, tested] = predictions.probabilities[basis.names[number]][repeat, tested]
    return result


def selection_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield the best row, the picked one, their difference, and the mean of all."""
    n, best = len(basis.predictions.patient_ids), ranking(basis)[0]
    honest = picked_probabilities(basis)
    n_picked = len(set(picked(basis).tolist()))
    names = f"{n_picked} different" if n_picked > 1 else basis.names[picked(basis)[0]]
    yield {"what": BEST_ROW, "model": best, **interval_cells(basis.estimates[best]), "n": n}
    yield {"what": PICKED, "model": names, **interval_cells(basis.estimate(honest)), "n": n}
    yield {"what": OPTIMISM, "model": "", **_optimism(basis, best, honest), "n": n}
    yield {"what": TYPICAL, "model": f"{len(basis.names)}", **interval_cells(_typical(basis)), "n": n}


def pick_rows(basis: StudyBasis) -> Iterator[Mapping[str, Any]]:
    """Yield what was picked in each fold."""
    table = np.array([basis.per_fold[name] for name in basis.names])
    for i, ((repeat, fold), number) in enumerate(zip(basis.places, picked(basis), strict=True)):
        known = table[:, i][np.isfinite(table[:, i])]
        value = table[number, i]
        yield {
            "repeat": repeat,
            "fold": fold,
            "model": basis.names[number],
            "tune_score": float(basis.tune_scores[number, i]),
            "test_auc": or_not_estimable(float(value) if np.isfinite(value) else None),
            "best_test_auc": or_not_estimable(float(known.max()) if len(known) else None),
        }


def _typical(basis: StudyBasis) -> Estimate:
    """Return the mean macro AUC of the configurations; its error is that of a mean over the same patients."""
    labels, fold = basis.predictions.labels, basis.predictions.fold
    measured = [basis.measured[name] for name in basis.names]
    mean = Measurement(
        np.mean([of.per_repeat for of in measured], axis=0),
        np.mean([of.resampled for of in measured], axis=0),
    )
    losses = [brier_losses(labels, basis.predictions.probabilities[name]) for name in basis.names]
    sample = Sample(labels, basis.weights, design_effect(np.mean(losses, axis=0), labels, fold))
    sizes = group_sizes(labels, basis.predictions.classes, MACRO)
    return estimate_of(mean, "auc", sizes, basis.statistics.confidence, sample)


def _optimism(basis: StudyBasis, best: str, honest: NDArray[np.float64]) -> Mapping[str, Any]:
    of_best = basis.predictions.probabilities[best]
    of_honest = macro_auc(basis.predictions.labels, honest, basis.weights)
    found = paired_difference(
        basis,
        (basis.measured[best].resampled, of_honest.resampled),
        (losses_of(basis, of_best), losses_of(basis, honest)),
    )
    return {
        "estimate": or_not_estimable(found.value),
        "ci_low": or_not_estimable(found.low),
        "ci_high": or_not_estimable(found.high),
        "ci_method": found.reason
        or "paired patient bootstrap; the choice of the best row is not repeated in it",
    }


SELECTION = StudyTable(
    "selection.csv",
    "way to choose a configuration",
    (
        Column("what", "Way to choose"),
        Column("model", "The configuration, or the number of different ones"),
        *interval("Macro AUC, or a difference of two", "AUC"),
        N,
    ),
    place=440,
    step=Step.STUDY,
    words=(
        "what",
        {
            BEST_ROW: "Chosen by its result on the same patients: optimistic",
            PICKED: "Chosen in each fold without its test patients: the honest estimate of picking the best of this grid",
            OPTIMISM: "The winner's curse, and the cost of choosing on few tune patients by `select_by`",
            TYPICAL: "What a configuration drawn at random reaches on average",
            HALVED: "Of a study within a budget: found within the training patients of each fold, so honest, too",
            BASELINE: "Of a study within a budget: a baseline, for comparison",
        },
    ),
    rows=selection_rows,
)
PICKS = StudyTable(
    "picks.csv",
    "repeat x fold",
    (
        REPEAT,
        FOLD,
        Column("model", "Configuration that is best on the tune patients of the fold"),
        Column("tune_score", "Its score there; macro AUC, or the negative of the log loss", "", Kind.NUMBER),
        Column("test_auc", "Its macro AUC on the test patients of the fold", "0 to 1", Kind.ESTIMATE),
        Column("best_test_auc", "The largest macro AUC of a configuration on these", "0 to 1", Kind.ESTIMATE),
    ),
    place=450,
    step=Step.STUDY,
    rows=pick_rows,
)
