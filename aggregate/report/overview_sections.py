"""The sections on the run and its cohort."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aggregate.cohort.study_cohort import UNSEEN
from aggregate.report.answers import answers
from aggregate.report.characteristics import characteristics
from aggregate.report.elements import Element, Note, Section, Table, absent
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.report.settings_in_words import described, settings_in_words
from aggregate.report.workbook import WORKBOOK
from aggregate.tables.cohort import COHORT
from aggregate.tables.dictionary import COLUMNS
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.registry import all_tables
from aggregate.tables.rows import Row, numeric
from aggregate.tables.splits import SPLITS

DESIGN_EFFECT = "design effect"
"""In ci_method where the interval counts that models are trained on each other's test patients."""
NO_DESIGN_EFFECT = (
    "No design effect could be estimated, as with a single repeat: intervals are too short and p-values too small, because the "
    "models of the folds are trained on each other's test patients."
)
_MOST_EXCLUSIONS = 25


def summary_section(folder: ResultsFolder) -> Section:
    """Return the answers to the three questions."""
    return Section(
        "summary",
        "In short",
        f"Brackets are {folder.level} confidence intervals over patients.{_method(folder)}",
        answers(folder),
    )


def _method(folder: ResultsFolder) -> str:
    """Return a sentence on how the intervals were made, as the row of the shown model tells it."""
    row = folder.macro_auc.get(folder.shown.name) if folder.shown else None
    if row is None or numeric(row["ci_low"]) is None:
        return ""
    how = f" That of {row['model']}: {row['ci_method']}; patients are resampled with the models fixed"
    if DESIGN_EFFECT in row["ci_method"]:
        return f"{how}, and a design effect above 1 lengthens it, because the models of the folds are trained on each other's test patients."
    return f"{how}. {NO_DESIGN_EFFECT}"


def synthetic(folder: ResultsFolder) -> str:
    """Return what a reader must know where the patients were drawn; empty for real ones."""
    if not folder.is_synthetic:
        return ""
    return "the patients of this cohort were drawn by a computer. Nothing here is a finding about people."


def run_section(folder: ResultsFolder) -> Section:
    """Return what was run: encoder, models, software."""
    run = folder.run
    facts = [
        ["experiment", str(run.get("name", ""))],
        ["written", moment(run)],
        *(row for name in folder.recipes for row in _recipe_rows(folder, name)),
        ["seed", str(folder.settings("aggregate").get("seed", ""))],
        ["fits", str(sum(len(keys) for keys in run.get("fits", {}).values()))],
        ["duration", f"{run.get('seconds', '')} s"],
        [
            "bags / splits",
            f"{str(run.get('bags_sha256', ''))[:16]}… / {str(run.get('splits_sha256', ''))[:16]}…",
        ],
        ["software", ", ".join(f"{name} {of}" for name, of in run.get("software", {}).items())],
    ]
    return Section(
        "run",
        "What was run",
        "The settings and software that the numbers below depend on; run.json holds all of them.",
        [
            Table(("what", "value"), facts, "The run.", "run.json"),
            Table(
                ("model", "kind", "parameters"),
                model_rows(folder),
                "Models of the configuration.",
                "run.json",
            ),
        ],
    )


def model_rows(folder: ResultsFolder) -> list[list[str]]:
    """Return name, kind, and what is set of each model of the configuration."""
    return [
        [
            name,
            str(section.get("kind", "")),
            described({key: value for key, value in section.items() if key != "kind"}) or "defaults",
        ]
        for name, section in folder.settings("aggregate", "model").items()
    ]


def _recipe_rows(folder: ResultsFolder, bag_set: str) -> list[list[str]]:
    """Describe how the features of a bag set were made, with the set's name if there are several."""
    recipe = folder.recipes[bag_set]
    sha256 = str(recipe.get("weights_sha256", ""))[:16]
    rows = [
        ["encoder", f"{recipe.get('encoder', '')}, layer {recipe.get('layer', '')}"],
        ["weights", f"{recipe.get('weights_name', '')} (SHA-256 {sha256}…)"],
        *(
            [f"preprocessing: {name}", text]
            for name, text in settings_in_words(recipe.get("preprocessing", {}))
        ),
        ["precision", str(recipe.get("precision", ""))],
    ]
    return rows if len(folder.recipes) == 1 else [[f"{bag_set}: {what}", value] for what, value in rows]


def moment(run: Mapping[str, Any]) -> str:
    """Return when a run was written, such as "2026-11-23 18:20:34 UTC"."""
    return str(run.get("created_utc", "")).replace("T", " ").replace("+00:00", " UTC")


def cohort_section(folder: ResultsFolder) -> Section:
    """Return the section on the cohort, the exclusions with reasons, and the splits."""
    rows = analysed(folder)
    elements: list[Element] = [_flow(folder, len(rows) or int(folder.run.get("n_patients", 0)))]
    elements.append(characteristics(folder, rows) if rows else absent("The cohort", "cohort.csv is missing"))
    elements += _exclusions(folder)
    elements.append(_splits(folder))
    return Section(
        "cohort",
        "Cohort, exclusions and splits",
        "The patients behind the numbers. The patient is the unit of all statistics; every exclusion is listed.",
        elements,
    )


def analysed(folder: ResultsFolder) -> list[Row]:
    """Return the rows of cohort.csv of the patients that were not left out."""
    excluded = {row["patient_id"] for row in left_out(folder) if not row["phase"]}
    return [row for row in folder.rows(COHORT) if row["patient_id"] not in excluded]


def left_out(folder: ResultsFolder) -> list[Row]:
    """Return the exclusions from the run; rows that concern one model only leave nobody out."""
    return [row for row in folder.rows(EXCLUDED) if not str(row["stage"]).startswith(UNSEEN)]


def _flow(folder: ResultsFolder, n: int) -> Note:
    excluded = left_out(folder)
    whole = {row["patient_id"] for row in excluded if not row["phase"]}
    phases = sum(bool(row["phase"]) and row["patient_id"] not in whole for row in excluded)
    return Note(
        f"{n} patients analysed; {len(whole)} patients and {phases} single phases of others left out "
        "(excluded.csv)."
    )


def _exclusions(folder: ResultsFolder) -> list[Element]:
    rows = folder.rows(EXCLUDED)
    if not rows:
        return []
    cells = [[row["patient_id"], row["phase"] or "all", row["stage"], row["reason"]] for row in rows]
    more = f" The first {_MOST_EXCLUSIONS} of {len(rows)}." if len(rows) > _MOST_EXCLUSIONS else ""
    return [
        Table(
            ("patient", "phase", "stage", "reason"),
            cells[:_MOST_EXCLUSIONS],
            f"Patients and phases left out, with the reason.{more}",
            EXCLUDED.file,
        )
    ]


def _splits(folder: ResultsFolder) -> Note:
    rows = folder.rows(SPLITS)
    if not rows:
        return absent("The splits", "splits.csv is missing")
    repeats, folds = distinct(rows, "repeat"), distinct(rows, "fold")
    first = Counter(
        r["role"] for r in rows if (r["repeat"], r["fold"]) == (rows[0]["repeat"], rows[0]["fold"])
    )
    scheme = folder.settings("aggregate", "splits").get("scheme", "")
    sizes = ", ".join(f"{n} {role}" for role, n in sorted(first.items(), key=lambda item: -item[1]))
    return Note(
        f"Splits ({scheme}): {len(folds)} folds, {len(repeats)} repeats, disjoint by patient; the first fold has "
        f"{sizes}. Scaling, early stopping, class weights and thresholds use train and tune patients only."
    )


def tables_section(folder: ResultsFolder) -> Section:
    """Return the section that lists the tables of the results folder."""
    columns = folder.rows(COLUMNS)
    listed: dict[str, list[str]] = {}
    for row in columns:
        listed.setdefault(row["file"], []).append(row["column"])
    held = [table for table in all_tables() if folder.tables.holds(table)]
    cells = [[table.file, ", ".join(listed.get(table.file, []))] for table in held]
    links = [table.location for table in held]
    return Section(
        "tables",
        "Tables of this folder",
        f"All figures and numbers above come from these files; columns.csv explains each column with its unit. {WORKBOOK} "
        "has, for a spreadsheet, one row for each patient and what each column means.",
        [
            Table(("file",), [[WORKBOOK]], "The workbook.", WORKBOOK, links=[WORKBOOK]),
            Table(("file", "columns"), cells, "Files of the folder tables.", COLUMNS.file, links=links),
        ],
    )


SECTIONS = (summary_section, cohort_section)
"""In the order of the page; `run_section` and `tables_section` end it."""
