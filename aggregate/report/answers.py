"""The answers to the three questions, in plain words with numbers: the first screen of the report."""

from collections.abc import Iterator, Mapping
from typing import Any

from aggregate.explain.associations import CONCEPT_SCORES
from aggregate.explain.phase_table import PHASES
from aggregate.report.elements import METRIC_NAMES, Element, Note, absent, cell, interval, p_text
from aggregate.report.explanation_figures import SIGN_TITLES
from aggregate.report.folder import ResultsFolder, ShownModel
from aggregate.run_folder.run_record import CEILING
from aggregate.statistics.comparisons import holm
from aggregate.tables.comparisons import BOOTSTRAP, COMPARISONS
from aggregate.tables.null import NULL_SUMMARY
from aggregate.tables.rows import Row, numeric

Cells = Mapping[str, Any]
"""A row of a table, which may have been computed from another one."""
CHANCE = 0.5
FAINT = 0.1
"""Rank correlation below which a label is not said to follow a sign."""
_MOST_SIGNS = 3


def answers(folder: ResultsFolder) -> list[Element]:
    """Return a paragraph per question: does it work, which model is best, what do the classes mean."""
    shown, rows = folder.shown, folder.macro_auc
    if shown is None:
        return [absent("The performance", "performance.csv is missing")]
    works = Note(" ".join(_does_it_work(folder, shown, rows)), lead="Does it work?")
    best = Note(" ".join(_which_is_best(folder, rows)), lead="Which model is best?")
    means = Note(" ".join(_what_do_they_mean(folder, shown)), lead="What do the classes mean?")
    return [works, best, means]


def beats_chance(folder: ResultsFolder, model: str) -> bool | None:
    """Return whether the interval of a model's macro AUC lies above chance; None where it has no interval."""
    row = folder.macro_auc.get(model)
    low = None if row is None else numeric(row["ci_low"])
    return None if low is None else low > CHANCE


def _does_it_work(folder: ResultsFolder, shown: ShownModel, rows: Mapping[str, Cells]) -> Iterator[str]:
    row = rows[shown.name]
    rival = next((name for name in folder.baselines if name != shown.name), "")
    against = _against_baselines(folder, shown).get(rival)
    yield _verdict(folder, shown, rival, against)
    yield (
        f"{shown.name} ({shown.rule}) has a macro AUC of {cell(row)} on {row['n']} patients that it was not trained on; "
        f"chance is {CHANCE}."
    )
    if rival:
        told = f"; {shown.name} is {_ahead(against)}" if against else ""
        yield f"The best baseline without images, {rival}, has {cell(rows[rival])}{told}."
    for null in folder.rows(NULL_SUMMARY, model=shown.name):
        yield f"On shuffled labels it has {interval(numeric(null['mean_auc']), None, None)}."
    yield from ceiling_sentences(folder)


def ceiling_sentences(folder: ResultsFolder) -> Iterator[str]:
    """Yield what could have been found in drawn patients; nothing for real ones, of whom nobody knows it."""
    ceiling = folder.run.get(CEILING)
    if ceiling:
        yield (
            f"The ceiling is {ceiling['auc']['macro']:.2f}: the {ceiling['n_patients']} patients are synthetic, and an observer "
            f"who {ceiling['observer']} reaches this on them."
        )
    elif folder.is_synthetic:
        yield "The patients are synthetic; what could be found is not told, because cohort.csv was changed since they were drawn."


def _verdict(folder: ResultsFolder, shown: ShownModel, rival: str, against: Cells | None) -> str:
    above_chance = beats_chance(folder, shown.name)
    if above_chance is None:
        return "Not known: the macro AUC has no interval."
    if not above_chance:
        return "No: not better than chance."
    if against is None:
        return "It is better than chance."
    return (
        "Yes."
        if is_shown(folder, against)
        else f"Better than chance, but not shown to be better than {rival}."
    )


def _against_baselines(folder: ResultsFolder, shown: ShownModel) -> dict[str, Cells]:
    """Return the differences to the baselines; Holm's adjustment is over them alone where the model was declared.

    A model that was chosen on these patients keeps the adjustment over all pairs, among which it was chosen.
    """
    rows = {name: row for name in folder.baselines if (row := difference(folder, shown.name, name))}
    tested = {name: row for name, row in rows.items() if numeric(row["p_value"]) is not None}
    if not shown.is_declared or not tested:
        return rows
    adjusted = holm([float(row["p_value"]) for row in tested.values()])
    own: dict[str, Cells] = {
        name: {**row, "p_adjusted": p, "n_comparisons": len(tested)}
        for (name, row), p in zip(tested.items(), adjusted, strict=True)
    }
    return {**rows, **own}


def _which_is_best(folder: ResultsFolder, rows: Mapping[str, Cells]) -> Iterator[str]:
    if not folder.models:
        yield f"No model of images was configured. {_primary(folder)}"
        return
    best, *others = folder.models
    if not others:
        yield f"Only one was tried, {best}."
        return
    yield f"{best} has the highest macro AUC of {len(folder.models)} models, {cell(rows[best])}."
    tested = {other: row for other in others if (row := difference(folder, best, other))}
    alike = [other for other, row in tested.items() if not is_shown(folder, row)]
    if tested:
        lead = tested.get(others[0])
        yield f"Its lead over {others[0]} is {_told(lead) if lead else 'not tested'}."
        yield _alike(len(alike), len(tested))
    yield "It was found best on these same patients, so its AUC is optimistic."
    yield _primary(folder)


def _alike(n_alike: int, n: int) -> str:
    """Say of how many others the best model is not shown to differ."""
    if not n_alike:
        return "That it is better than every other one is shown."
    if n_alike == n:
        return (
            "That it is better than any other one is not shown."
            if n > 1
            else "That it is better is not shown."
        )
    return f"That it is better is shown for {n - n_alike} of the other {n}."


def _primary(folder: ResultsFolder) -> str:
    row = folder.primary
    if row is None:
        return "No comparison was declared as primary beforehand: every comparison is exploratory."
    value, low, high = (numeric(row[name]) for name in ("difference", "ci_low", "ci_high"))
    p = p_text(row["p_value"])
    told = f"Primary comparison, declared beforehand: {row['model_a']} minus {row['model_b']}, "
    told += f"macro {METRIC_NAMES[row['metric']]} {interval(value, low, high)}"
    return told + (f", p {_equals(p)}." if p else ".")


def _what_do_they_mean(folder: ResultsFolder, shown: ShownModel) -> Iterator[str]:
    if beats_chance(folder, shown.name) is False:
        yield f"Not read from {shown.name}, which is not better than chance: what it looked at explains noise."
        return
    phases = [row for row in folder.rows(PHASES, model=shown.name) if numeric(row["shapley"]) is not None]
    if len(phases) > 1:
        yield _phase(max(phases, key=lambda row: float(row["shapley"])))
    signs = _signs(folder, shown.name)
    if signs:
        yield _told_signs(signs)
    elif folder.rows(CONCEPT_SCORES, model=shown.name):
        yield f"No measured sign follows the probabilities of {shown.name} after adjustment."
    else:
        yield f"Signs were not measured for {shown.name}: that needs explanations (aggregate.py explain) and measures or a slice store."


def _phase(row: Cells) -> str:
    worth = cell(row, ("shapley", "shapley_low", "shapley_high"))
    told = f"Of the phases {row['phase']} is worth most to {row['model']}: {worth} of its macro AUC"
    if numeric(row["enrichment"]) is None:
        return f"{told}."
    drawn = cell(row, ("enrichment", "enrichment_low", "enrichment_high"))
    return f"{told}, and {drawn} times the attention that as many slices would have by chance."


def _signs(folder: ResultsFolder, model: str) -> list[Row]:
    """Return the sign that follows the probability of each class most, of those shown after adjustment.

    Signs that the reference label follows the same way come first: only these can be what the class means.
    """
    level = 1 - folder.tables.confidence
    rows = [
        row
        for row in folder.rows(CONCEPT_SCORES, model=model)
        if (p := numeric(row["p_holm"])) is not None and p < level
    ]
    rows.sort(key=lambda row: (not _label_agrees(row), -abs(float(row["spearman"]))))
    first = {row["class"]: row for row in reversed(rows)}
    return sorted(first.values(), key=lambda row: -abs(float(row["spearman"])))[:_MOST_SIGNS]


def _label_agrees(row: Cells) -> bool:
    """Return whether the reference label follows a sign the same way, and not by a hair only."""
    reference = numeric(row["spearman_reference"])
    return reference is not None and reference * float(row["spearman"]) > 0 and abs(reference) >= FAINT


def _told_signs(rows: list[Row]) -> str:
    told = []
    for row in rows:
        way = "more" if float(row["spearman"]) > 0 else "less"
        correlation = cell(row, ("spearman", "ci_low", "ci_high"))
        of_truth = interval(numeric(row["spearman_reference"]), None, None)
        sign = SIGN_TITLES.get(row["concept"], row["concept"])
        against = "" if _label_agrees(row) else ", which does not follow this sign"
        told.append(
            f"{row['class']} with {way} {sign} ({correlation}; the reference label: {of_truth}{against})"
        )
    return (
        f"The probability of {rows[0]['model']} rises for {'; for '.join(told)}: rank correlations over patients, which do not "
        "prove that the model used the sign."
    )


def difference(folder: ResultsFolder, model: str, other: str) -> Cells | None:
    """Return the paired difference in macro AUC of two models, in this order; None where it was not tested."""
    where = {"class": "macro", "metric": "auc", "test": BOOTSTRAP}
    for row in folder.rows(COMPARISONS, model_a=model, model_b=other, **where):
        return row
    for row in folder.rows(COMPARISONS, model_a=other, model_b=model, **where):
        value, low, high = (numeric(row[name]) for name in ("difference", "ci_low", "ci_high"))
        turned = {"difference": _negative(value), "ci_low": _negative(high), "ci_high": _negative(low)}
        return {**row, "model_a": model, "model_b": other, **turned}
    return None


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def is_shown(folder: ResultsFolder, row: Cells) -> bool:
    """Return whether a difference in favour of the first model remains after the adjustment."""
    p, value = numeric(row["p_adjusted"]), numeric(row["difference"])
    return p is not None and value is not None and value > 0 and p < 1 - folder.tables.confidence


def _ahead(row: Cells) -> str:
    value = numeric(row["difference"])
    if value is None or value >= 0:
        return f"ahead by {_told(row)}"
    turned = {
        "difference": -value,
        "ci_low": _negative(numeric(row["ci_high"])),
        "ci_high": _negative(numeric(row["ci_low"])),
    }
    return f"behind by {_told({**row, **turned})}"


def _told(row: Cells) -> str:
    told = cell(row, ("difference", "ci_low", "ci_high"))
    p, adjusted, n = p_text(row["p_value"]), p_text(row["p_adjusted"]), row["n_comparisons"]
    if not p:
        return told
    return f"{told}, p {_equals(p)}" + (
        f", adjusted for {n} comparisons {adjusted}" if int(n or 1) > 1 else ""
    )


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"
