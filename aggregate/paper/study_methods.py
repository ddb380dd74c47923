"""The grid of a study in sentences."""

from collections.abc import Iterator

from aggregate.paper.model_parameters import method_of
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.report.settings_in_words import described
from aggregate.study.configurations import CONFIGURATIONS, FACTOR_PREFIX
from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.study_comparisons import PRIMARY, STUDY_COMPARISONS

_SCORES = {"log_loss": "lowest log loss", "auc": "highest macro AUC"}


def study_sentences(folder: ResultsFolder) -> Iterator[str]:
    """Yield what was tried and how the best was picked; nothing for a run of named models."""
    study = folder.settings("aggregate", "study")
    rows = folder.rows(CONFIGURATIONS) or folder.rows(HALVING_SUMMARY)
    if not study or not rows:
        return
    factors = [column for column in rows[0] if column.startswith(FACTOR_PREFIX)]
    levels = "; ".join(
        f"{column.removeprefix(FACTOR_PREFIX)}: {', '.join(map(str, distinct(rows, column)))}"
        for column in factors
    )
    yield f"A grid of {len(rows)} configurations was planned ({levels})."
    for name, section in study.get("aggregators", {}).items():
        given = described({key: value for key, value in section.items() if key != "kind"})
        yield f"Aggregator {name}: {method_of(section)} ({given or 'parameters at their defaults'})."
    score = _SCORES.get(str(study.get("select_by")), str(study.get("select_by")))
    if folder.rows(HALVING_SUMMARY):
        yield (
            f"In each fold, successive halving within its training patients picked the configuration of {score}; those that were "
            "not tried for want of time are named in halving_summary.csv."
        )
        return
    yield (
        f"Beside the estimate of every configuration, selection.csv has that of picking, in each fold, the configuration of {score} "
        "on its tuning patients (nested selection), who are not tested there; the first rows of the leaderboard are optimistic."
    )
    if not folder.rows(STUDY_COMPARISONS, family=PRIMARY):
        yield "No comparison of two configurations was declared in the configuration: every one is exploratory."
