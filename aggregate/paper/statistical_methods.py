"""Intervals, tests and thresholds of a run in sentences."""

import re
from collections.abc import Iterator, Mapping, Sequence

from aggregate.paper.declared import declared_models
from aggregate.report.elements import METRIC_NAMES, interval
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.statistics.measures import MACRO
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.selection import SELECTION
from aggregate.study.study_comparisons import BEST, PLAINEST, PRIMARY, STUDY_COMPARISONS
from aggregate.tables.comparisons import BOOTSTRAP, COMPARISONS, CORRECTED_T, DELONG
from aggregate.tables.decisions import THRESHOLDS
from aggregate.tables.null import NULL_SUMMARY
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.rows import ALL, Row, numeric

_EFFECT = re.compile(r"design effect ([\d.]+)")
_RULES = {
    "youden": "the largest sum of sensitivity and specificity",
    "sensitivity": "a sensitivity of at least {target:g}",
    "specificity": "a specificity of at least {target:g}",
}
FAMILIES: Mapping[str, str] = {
    PRIMARY: "the declared comparison",
    BEST: "all pairs of the best configurations",
    PLAINEST: "every configuration with the plainest one",
}
"""Family of a study's comparisons -> in words."""
_TESTS = {
    BOOTSTRAP: "a paired bootstrap of the patients",
    CORRECTED_T: "the corrected t-test of Nadeau and Bengio over repeats and folds",
    DELONG: "DeLong's test (AUC of one class)",
}


def intervals(folder: ResultsFolder) -> Iterator[str]:
    """Yield how the intervals of the performance were found."""
    rows = (
        folder.rows(PERFORMANCE, metric="auc", **{"class": MACRO})
        or folder.rows(LEADERBOARD)
        or folder.rows(SELECTION)
    )
    settings = folder.settings("aggregate", "statistics")
    if not rows or "draws" not in settings:
        return
    yield (
        "The area under the ROC curve (AUC) is that of each class against the others, and the macro AUC its mean over the "
        f"classes. {folder.level} confidence intervals are over patients, with the models fixed: {settings['draws']} resamples "
        "of half of the patients of each class, counted twice, give the standard error, and Student's t the width, on the logit "
        "scale for AUC and proportions and on the log scale for losses."
    )
    shown = declared_models(folder)
    effects = [
        float(found[1])
        for row in rows
        if (not shown or row["model"] in shown) and (found := _EFFECT.search(row["ci_method"]))
    ]
    if effects:
        low, high = f"{min(effects):.2f}", f"{max(effects):.2f}"
        size = low if low == high else f"{low} to {high}"
        of_what = f" of {', '.join(shown)}" if shown else ""
        yield (
            "Since models are trained on each other's test patients, the variance is multiplied by a design effect, estimated "
            f"from the Brier loss over the repeats ({size} for the macro AUC{of_what})."
        )
    else:
        yield "No design effect for models trained on each other's test patients is included, so that intervals are too short."


def comparisons(folder: ResultsFolder) -> Iterator[str]:
    """Yield which models were compared by which tests, and what was declared."""
    rows = folder.rows(COMPARISONS)
    if not rows:
        yield from _of_a_study(folder)
        return
    tests = [_TESTS.get(test, test) for test in distinct(rows, "test")]
    numbers = {row["n_comparisons"] for row in rows if not row["primary"]} - {None}
    yield f"Models were compared on the same patients by {'; '.join(tests)}."
    if numbers:
        low, high = min(numbers), max(numbers)
        size = str(low) if low == high else f"{low} to {high}"
        yield f"p-values are adjusted by Holm's method over {size} comparison{'' if size == '1' else 's'} of the same class, metric and test."
    primary = next((row for row in rows if row["primary"]), None)
    if primary is None:
        yield "No comparison was declared as primary in the configuration: every comparison is exploratory."
    else:
        yield (
            f"The configuration declares one primary comparison, {primary['model_a']} minus {primary['model_b']} in macro "
            f"{METRIC_NAMES[primary['metric']]} by {_TESTS.get(primary['test'], primary['test'])}, whose p-value is not adjusted; all "
            "others are exploratory."
        )


def _of_a_study(folder: ResultsFolder) -> Iterator[str]:
    """Yield the same of a study, whose families of comparisons are adjusted one by one."""
    rows = folder.rows(STUDY_COMPARISONS)
    if not rows:
        return
    tests = [_TESTS.get(test, test) for test in distinct(rows, "test")]
    yield f"Configurations were compared on the same patients by {'; '.join(tests)}."
    told = [
        f"{FAMILIES[family]} ({n})"
        for family in distinct(rows, "family")
        if (n := _largest(rows, family)) and family != PRIMARY
    ]
    if told:
        yield f"p-values are adjusted by Holm's method within each family of comparisons: {'; '.join(told)}."
    for row in folder.rows(STUDY_COMPARISONS, family=PRIMARY, test=BOOTSTRAP):
        yield (
            f"The configuration declares one primary comparison, {row['model_a']} minus {row['model_b']} in macro "
            f"{METRIC_NAMES[row['metric']]}, whose p-value is not adjusted; all others are exploratory."
        )


def _largest(rows: Sequence[Row], family: str) -> int:
    return max((row["n_comparisons"] or 0 for row in rows if row["family"] == family), default=0)


def thresholds(folder: ResultsFolder) -> Iterator[str]:
    """Yield how a class is called, and how thresholds were chosen."""
    if folder.rows(PERFORMANCE):
        yield "The predicted class is the most probable one."
    rules = distinct(folder.rows(THRESHOLDS, fold=ALL), "rule")
    if rules:
        target = folder.settings("aggregate", "statistics").get("threshold_target")
        told = " and ".join(
            _RULES[rule].format(target=target) if rule in _RULES and target is not None else str(rule)
            for rule in rules
        )
        yield (
            f"The thresholds of thresholds.csv are chosen on the tuning patients of each fold ({told}) and applied to its test "
            "patients."
        )


def permutations(folder: ResultsFolder) -> Iterator[str]:
    """Yield the control on permuted labels, if it was run."""
    for row in folder.rows(NULL_SUMMARY):
        if row["model"] in declared_models(folder)[:1]:
            yield (
                f"As a control the whole analysis was repeated on permuted labels ({row['n_permutations']} permutations; mean "
                f"macro AUC of {row['model']} {interval(numeric(row['mean_auc']), None, None, 3)})."
            )
