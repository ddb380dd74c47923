"""The sections on the run and its cohort."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from statistics import median
from typing import Any

from aggregate.cohort.study_cohort import UNSEEN
from aggregate.report.answers import answers, auc_rows
from aggregate.report.elements import Element, Note, Section, Table, absent, text
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.report.workbook import WORKBOOK
from aggregate.run_folder.run_record import CEILING
from aggregate.tables.cohort import COHORT
from aggregate.tables.dictionary import COLUMNS
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.registry import all_tables
from aggregate.tables.rows import Row, numeric
from aggregate.tables.splits import SPLITS
from pipeline.covariates import Kind, Value, read_covariate

_MOST_EXCLUSIONS = 25
_MOST_LEVELS = 6
_UNITS = {"mm": "mm", "mm2": "mm²", "px": "px", "hu": "HU"}
_SETTINGS = {"windows": "windows (level, width in HU)"}


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
    row = auc_rows(folder).get(folder.shown.name) if folder.shown else None
    if row is None or numeric(row["ci_low"]) is None:
        return ""
    return (
        f" That of {row['model']}: {row['ci_method']}; patients are resampled with the models fixed, and a design effect above "
        "1 lengthens it, because the models of the folds are trained on each other's test patients."
    )


def synthetic(folder: ResultsFolder) -> str:
    """Return what a reader must know where the patients were drawn; empty for real ones."""
    ceiling = folder.run.get(CEILING)
    if not ceiling:
        return ""
    return f"the {ceiling['n_patients']} patients of this cohort were drawn by a computer. Nothing here is a finding about people."


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
    models = [
        [
            name,
            str(section.get("kind", "")),
            described({k: v for k, v in section.items() if k != "kind"}) or "defaults",
        ]
        for name, section in folder.settings("aggregate", "model").items()
    ]
    return Section(
        "run",
        "What was run",
        "The settings and software that the numbers below depend on; run.json holds all of them.",
        [
            Table(("what", "value"), facts, "The run.", "run.json"),
            Table(("model", "kind", "parameters"), models, "Models of the configuration.", "run.json"),
        ],
    )


def _recipe_rows(folder: ResultsFolder, bag_set: str) -> list[list[str]]:
    """Describe how the features of a bag set were made, with the set's name if there are several."""
    recipe = folder.recipes[bag_set]
    sha256 = str(recipe.get("weights_sha256", ""))[:16]
    rows = [
        ["encoder", f"{recipe.get('encoder', '')}, layer {recipe.get('layer', '')}"],
        ["weights", f"{recipe.get('weights_name', '')} (SHA-256 {sha256}…)"],
        *([f"preprocessing: {name}", text] for name, text in _settings(recipe.get("preprocessing", {}))),
        ["precision", str(recipe.get("precision", ""))],
    ]
    return rows if len(folder.recipes) == 1 else [[f"{bag_set}: {what}", value] for what, value in rows]


def moment(run: Mapping[str, Any]) -> str:
    """Return when a run was written, such as "2026-11-23 18:20:34 UTC"."""
    return str(run.get("created_utc", "")).replace("T", " ").replace("+00:00", " UTC")


def described(value: object) -> str:
    """Say a setting in words: {"size_px": 112, "margin": None} is "size: 112 px"; what is not set is left out."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {text}" for name, text in _settings(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"({described(of)})" if isinstance(of, list) else described(of) for of in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of what is set, the unit at the end of a key moved behind the number."""
    for key, value in values.items():
        if value in (None, [], {}) or not described(value):
            continue
        name, _, unit = key.rpartition("_")
        if unit not in _UNITS:
            yield _words(key), described(value)
        elif isinstance(value, Mapping):  # such as scales_mm = {tight = 70.0}
            yield (
                _words(name),
                ", ".join(f"{of} {described(n)}" for of, n in value.items()) + f" {_UNITS[unit]}",
            )
        else:
            yield _words(name), f"{described(value)} {_UNITS[unit]}"


def _words(key: str) -> str:
    return _SETTINGS.get(key, key.replace("_", " "))


def cohort_section(folder: ResultsFolder) -> Section:
    """Return the section on the cohort, the exclusions with reasons, and the splits."""
    excluded = {row["patient_id"] for row in _left_out(folder) if not row["phase"]}
    rows = [row for row in folder.rows(COHORT) if row["patient_id"] not in excluded]
    elements: list[Element] = [_flow(folder, len(rows) or int(folder.run.get("n_patients", 0)))]
    elements.append(_characteristics(folder, rows) if rows else absent("The cohort", "cohort.csv is missing"))
    elements += _exclusions(folder)
    elements.append(_splits(folder))
    return Section(
        "cohort",
        "Cohort, exclusions and splits",
        "The patients behind the numbers. The patient is the unit of all statistics; every exclusion is listed.",
        elements,
    )


def _left_out(folder: ResultsFolder) -> list[Row]:
    """Return the exclusions from the run; rows that concern one model only leave nobody out."""
    return [row for row in folder.rows(EXCLUDED) if not str(row["stage"]).startswith(UNSEEN)]


def _flow(folder: ResultsFolder, n: int) -> Note:
    excluded = _left_out(folder)
    whole = {row["patient_id"] for row in excluded if not row["phase"]}
    phases = sum(bool(row["phase"]) and row["patient_id"] not in whole for row in excluded)
    return Note(
        f"{n} patients analysed; {len(whole)} patients and {phases} single phases of others left out "
        "(excluded.csv)."
    )


def _characteristics(folder: ResultsFolder, rows: Sequence[Row]) -> Table:
    groups = [
        *((name, [r for r in rows if r["label"] == name]) for name in folder.classes),
        ("all", list(rows)),
    ]
    table = [["patients", *(str(len(group)) for _, group in groups)]]
    for column in rows[0]:
        if column in ("patient_id", "label", "phases_present", "phases_missing", "weights"):
            continue
        if column.startswith("slices_"):
            phase = column.removeprefix("slices_")
            cells = [_slices([row[column] for row in group]) for _, group in groups]
            table.append([f"{phase}: patients; slices, median (range)", *cells])
        else:
            table += _covariate(column, groups)
    return Table(
        ("characteristic", *(name for name, _ in groups)),
        table,
        "Characteristics by reference class: median (range) or number of patients.",
        COHORT.file,
    )


def _slices(counts: Sequence[int | None]) -> str:
    present = [n for n in counts if n]
    if not present:
        return "0"
    return f"{len(present)}; {median(present):.0f} ({min(present):.0f}–{max(present):.0f})"


def _covariate(column: str, groups: Sequence[tuple[str, Sequence[Row]]]) -> list[list[str]]:
    covariate = read_covariate(column, {row["patient_id"]: text(row[column]) for row in groups[-1][1]})
    told = [[covariate.values[row["patient_id"]] for row in group] for _, group in groups]
    levels = covariate.levels
    title = _titled(column)
    if covariate.is_ordered and len(levels) > _MOST_LEVELS:
        return [[title, *(_range(covariate.kind, values) for values in told)]]
    if len(levels) > _MOST_LEVELS:
        return []
    return [
        [f"{title}: {_level(covariate.kind, level)}", *(str(values.count(level)) for values in told)]
        for level in levels
    ]


def _titled(column: str) -> str:
    """Return the name of a column in words, its unit in brackets."""
    name, _, unit = column.rpartition("_")
    return f"{_words(name)} ({unit})" if unit in (*_UNITS, "ml") else _words(column)


def _level(kind: Kind, value: Value, digits: str = "g") -> str:
    if not isinstance(value, float):
        return str(value)
    return date.fromordinal(round(value)).isoformat() if kind is Kind.DATE else f"{value:{digits}}"


def _range(kind: Kind, values: Sequence[Value]) -> str:
    known = [value for value in values if isinstance(value, float)]
    if not known:
        return ""
    middle, low, high = (_level(kind, value, ".3g") for value in (median(known), min(known), max(known)))
    return f"{middle} ({low}–{high})"


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
