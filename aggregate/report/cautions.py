"""Warnings shown before any number."""

from collections.abc import Iterator

from aggregate.explain.attention import EXPLANATION_CHECKS
from aggregate.report.elements import interval
from aggregate.report.folder import ResultsFolder
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.tables.cohort import COHORT
from aggregate.tables.confounders import CONFOUNDERS
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.rows import numeric
from pipeline.bags import RANDOM_BANNER

TOO_GOOD = 0.95
"""A macro AUC above this is more often caused by leakage than real."""
FEWEST_IN_CLASS = 10
STABLE = 0.3
"""Spearman correlation between repeats below which a ranking of slices is unreliable."""
BAG_SIZE = ("bag size (slices)", "bag_size")
"""The confounder in confounders.csv, and the baseline, that use only the number of slices."""


def cautions(folder: ResultsFolder) -> list[str]:
    """Return the warnings for a results folder, the most serious first."""
    return [
        *_random_weights(folder),
        *_too_good(folder),
        *_bag_size(folder),
        *_confounders(folder),
        *_small_classes(folder),
        *_misfits(folder),
        *_failed_controls(folder),
    ]


def _random_weights(folder: ResultsFolder) -> Iterator[str]:
    untrained = {name: recipe for name, recipe in folder.recipes.items() if recipe.get("random_weights")}
    encoders = dict.fromkeys(f"{of.get('encoder')}, {of.get('weights_name')}" for of in untrained.values())
    if untrained and len(untrained) == len(folder.recipes):
        yield (
            f"{RANDOM_BANNER}: the encoder ({'; '.join(encoders)}) was never "
            "trained. These figures test the software; they say nothing about patients."
        )
    elif untrained:
        yield (
            f"{RANDOM_BANNER} in {', '.join(untrained)}: the encoder of these bag sets ({'; '.join(encoders)}) was never trained. "
            "Models that read them are controls; what they reach says nothing about patients."
        )


def _too_good(folder: ResultsFolder) -> Iterator[str]:
    best_of_study = folder.rows(LEADERBOARD)[:1]
    for row in best_of_study or folder.rows(PERFORMANCE, **{"class": "macro", "metric": "auc"}):
        value = numeric(row["estimate"])
        if value is not None and value > TOO_GOOD:
            yield (
                f"Model {row['model']} reaches a macro AUC of {value:.3f}, above {TOO_GOOD}: check for leakage "
                "(a covariate or scanner that gives the label away, patients in two roles, drawn contours that "
                "follow the diagnosis)."
            )


def _bag_size(folder: ResultsFolder) -> Iterator[str]:
    found = folder.rows(CONFOUNDERS, confounder=BAG_SIZE[0], metric="auc", **{"class": "macro"})
    found = found or folder.rows(PERFORMANCE, model=BAG_SIZE[1], metric="auc", **{"class": "macro"})
    found = found or folder.rows(LEADERBOARD, model=BAG_SIZE[1])
    for row in found:
        value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
        if low is not None and low > 0.5:
            yield (
                f"Bag size predicts the label: the number of slices alone reaches a macro AUC of "
                f"{interval(value, low, high)}. A model may owe part of its performance to tumour size or slice "
                "thickness; compare with the baselines."
            )


def _confounders(folder: ResultsFolder) -> Iterator[str]:
    """Name every other fact that tells the label, such as the centre."""
    for row in folder.rows(CONFOUNDERS, metric="auc", **{"class": "macro"}):
        value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
        if row["confounder"] != BAG_SIZE[0] and low is not None and low > 0.5:
            yield (
                f"{str(row['confounder']).capitalize()} predicts the label: alone it reaches a macro AUC of {interval(value, low, high)}. "
                "A model may owe part of its performance to it; see the subgroups."
            )


def _small_classes(folder: ResultsFolder) -> Iterator[str]:
    labels = [row["label"] for row in folder.rows(COHORT)]
    for name in folder.classes if labels else ():
        n = labels.count(name)
        if n < FEWEST_IN_CLASS:
            yield (
                f"Class {name} has {n} patients, under {FEWEST_IN_CLASS}: its estimates are close to "
                "meaningless, whatever their intervals say."
            )


def _misfits(folder: ResultsFolder) -> Iterator[str]:
    """List the cells of a covariate that count as missing because they are not of its type."""
    for name, covariate in folder.run.get("covariates", {}).items():
        cells = [f"{cell} (patient {who})" for who, cell in covariate["misfits"].items()]
        if cells:
            yield (
                f"Covariate {name} is a {covariate['kind']}; cells that are none count as missing: {', '.join(cells)}."
            )


def _failed_controls(folder: ResultsFolder) -> Iterator[str]:
    """Warn of every model whose attention ranks the slices differently in each repeat."""
    for row in folder.rows(EXPLANATION_CHECKS, measure="rank_stability"):
        value = numeric(row["estimate"])
        if value is not None and value < STABLE:
            yield (
                f"The attention of model {row['model']} ranks slices differently from repeat to repeat (Spearman "
                f"{interval(value, None, None)}): do not read single slices as evidence."
            )
