"""The numbered tables of a paper; every number is printed as in the report, from the same rows."""

from collections.abc import Iterator, Mapping, Sequence

from aggregate.paper.declared import declared_models, name_of
from aggregate.paper.model_parameters import defaults_in_words, method_of
from aggregate.report.characteristics import characteristics
from aggregate.report.elements import METRIC_NAMES, NOTHING, Table, cell, p_text, reasons, text
from aggregate.report.folder import ResultsFolder
from aggregate.report.overview_sections import analysed, model_rows
from aggregate.report.study_budget_sections import searched_tables
from aggregate.report.study_sections import leaderboard_table
from aggregate.statistics.measures import MACRO
from aggregate.tables.comparisons import COMPARISONS
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.rows import Row

_DIFFERENCE = ("difference", "ci_low", "ci_high")
CHARACTERISTICS, PERFORMANCES, DIFFERENCES, MODELS, RANKED, SEARCHED, SEARCH = ALL_TABLES = (
    "table_1_characteristics",
    "table_2_performance",
    "table_3_comparisons",
    "table_4_models",
    "table_2_leaderboard",
    "table_2_search",
    "table_3_result_of_the_search",
)
"""File names without ending; the last three are of studies."""


def tables_of(folder: ResultsFolder) -> Mapping[str, Table]:
    """Return file name -> table, those of a run or of a study; a table that would be empty is left out."""
    patients = analysed(folder)
    found = {
        CHARACTERISTICS: characteristics(folder, patients) if patients else None,
        PERFORMANCES: _performance(folder),
        DIFFERENCES: _comparisons(folder),
        MODELS: _models(folder),
        RANKED: leaderboard_table(folder),
        **dict(zip((SEARCHED, SEARCH), searched_tables(folder), strict=False)),
    }
    return {name: table for name, table in found.items() if table is not None}


def _performance(folder: ResultsFolder) -> Table | None:
    rows = folder.rows(PERFORMANCE)
    shown = declared_models(folder)
    everyone = (*folder.models, *folder.plain, *folder.baselines)
    others = [name for name in everyone if name not in shown]
    known = {(row["model"], row["class"], row["metric"]): row for row in rows}
    cells = [line for name in shown for line in _of_classes(folder, known, name)]
    cells += [_macro(folder, known, name) for name in others]
    if not cells:
        return None
    metrics = ("auc", "sensitivity", "specificity", "balanced_accuracy")
    told = [row for (name, _, metric), row in known.items() if name in everyone and metric in metrics]
    return Table(
        ("model", "class", "n of class / all", "AUC", "sensitivity", "specificity"),
        cells,
        f"Performance on patients that the models were not trained on, with {folder.level} confidence intervals over patients. "
        "Each class is told from the others; macro is the mean over the classes, where the sensitivity is the balanced "
        "accuracy. The predicted class is the most probable one. The models declared in the configuration are shown class by "
        f"class, all others by their mean.{reasons(told)}",
        PERFORMANCE.file,
    )


def _of_classes(
    folder: ResultsFolder, known: Mapping[tuple[str, str, str], Row], model: str
) -> Iterator[list[str]]:
    yield _macro(folder, known, model)
    for name in folder.classes:
        auc = known.get((model, name, "auc"))
        n = f"{auc['n_positive']} / {auc['n']}" if auc else ""
        rates = (cell(known.get((model, name, metric))) for metric in ("auc", "sensitivity", "specificity"))
        yield [name_of(folder, model), name, n, *rates]


def _macro(folder: ResultsFolder, known: Mapping[tuple[str, str, str], Row], model: str) -> list[str]:
    auc = known.get((model, MACRO, "auc"))
    balanced = cell(known.get((model, MACRO, "balanced_accuracy")))
    return [name_of(folder, model), MACRO, text(auc["n"]) if auc else "", cell(auc), balanced, NOTHING]


def _comparisons(folder: ResultsFolder) -> Table | None:
    declared = set(declared_models(folder))
    rows = [
        row
        for row in folder.rows(COMPARISONS, **{"class": MACRO})
        if row["primary"] or (row["metric"] == "auc" and _is_of_interest(folder, row, declared))
    ]
    if not rows:
        return None
    cells = [
        [f"{row['model_a']} − {row['model_b']}", METRIC_NAMES[row["metric"]], row["test"], cell(row, _DIFFERENCE, digits=3),
         p_text(row["p_value"]), p_text(row["p_adjusted"]), text(row["n_comparisons"]), "yes" if row["primary"] else "no"]
        for row in rows
    ]  # fmt: skip
    columns = ("models", "macro metric", "test", f"difference ({folder.level} CI)", "p", "adjusted p",
               "adjusted together", "declared as primary")  # fmt: skip
    return Table(
        columns,
        cells,
        "Differences between a declared model and the other models of the configuration, on the same patients. p-values are "
        "adjusted by Holm's method over the number of comparisons given, which includes those that only "
        f"{COMPARISONS.file} lists; the comparison declared as primary is not adjusted.",
        COMPARISONS.file,
        frozenset(i for i, row in enumerate(rows) if row["primary"]),
    )


def _is_of_interest(folder: ResultsFolder, row: Row, declared: set[str]) -> bool:
    pair = {row["model_a"], row["model_b"]}
    return pair <= {*folder.models, *declared} and bool(pair & declared)


def _models(folder: ResultsFolder) -> Table | None:
    sections = folder.settings("aggregate", "model")
    if not sections:
        return None
    version = str(folder.run.get("software", {}).get("phasemil", ""))
    rows: Sequence[Sequence[str]] = [
        [name, method_of(section), given, defaults_in_words(section, version)]
        for (name, section), (_, _, given) in zip(sections.items(), model_rows(folder), strict=True)
    ]
    return Table(
        ("model", "method", "set in the configuration", f"defaults of phasemil {version}"),
        rows,
        "Models of the configuration and their parameters.",
        "run.json",
    )
