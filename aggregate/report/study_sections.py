"""The sections of a study: which configuration is best, which choice matters, and how much of it is luck."""

from collections.abc import Callable, Iterator, Mapping

from aggregate.planning.baselines import WITHOUT_IMAGE
from aggregate.report import overview_sections as overview
from aggregate.report import study_budget_sections, study_curve_sections
from aggregate.report import study_figures as figures
from aggregate.report.answers import CHANCE, ceiling_sentences
from aggregate.report.elements import (
    METRIC_NAMES,
    Element,
    Note,
    Section,
    Table,
    absent,
    cell,
    p_text,
    reasons,
    signed,
    text,
)
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.study.configurations import CONFIGURATIONS, FACTOR_PREFIX
from aggregate.study.factor_effects import FACTOR_EFFECTS, FACTORS
from aggregate.study.halving import HALVING_SUMMARY
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.study.ranks import RANKS
from aggregate.study.selection import BEST_ROW, OPTIMISM, PICKED, SELECTION
from aggregate.study.study_comparisons import BEST, PLAINEST, PRIMARY, STUDY_COMPARISONS
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from aggregate.tables.rows import Row, numeric

_MOST_ROWS = 20
_MOST_COMPARISONS = 24
_CHOSEN_PAIR = "is shown by both tests after correction, which is exploration all the same, the pair being chosen on these patients,"
_DIFFERENCE = ("difference", "ci_low", "ci_high")


def sections_of(folder: ResultsFolder) -> tuple[Callable[[ResultsFolder], Section], ...]:
    """Return the sections of a results folder of a study; none where it is that of a run."""
    if folder.tables.holds(LEADERBOARD):
        return SECTIONS
    return OF_A_BUDGET if folder.tables.holds(HALVING_SUMMARY) else ()


_NOT_EXPLAINED = (
    "A study compares configurations and explains none. Put the one that you chose in a configuration of its own, and run "
    "`aggregate.py run` on it."
)


def summary_section(folder: ResultsFolder) -> Section:
    """Return which configuration is best and by how much, and what to expect of picking it."""
    ranked = figures.ranked(folder)
    elements: list[Element] = []
    if ranked:
        works = " ".join([_honest(folder), *_against_no_images(folder), *ceiling_sentences(folder)])
        elements += [
            Note(works, lead="Does it work?"),
            Note(_best(folder, ranked), lead="Which configuration is best?"),
            *_main_factor(folder),
        ]
    else:
        elements.append(absent("The leaderboard", "leaderboard.csv is empty"))
    elements += [*_primary(folder), Note(_NOT_EXPLAINED, lead="What do the classes mean?")]
    return Section(
        "summary",
        "In short",
        "Which configuration is best, is its lead real, and what would a reader get who picks the best of this grid?",
        elements,
    )


def _best(folder: ResultsFolder, ranked: list[Row]) -> str:
    best = ranked[0]
    lead = (
        f"Of {len(ranked)} configurations on {best['n']} patients, {best['model']} has the highest macro AUC, "
        f"{cell(best)} ({folder.level} CI)"
    )
    runner_up = str(ranked[1]["model"]) if len(ranked) > 1 else ""
    plainest = next((str(row["model_b"]) for row in folder.rows(STUDY_COMPARISONS, family=PLAINEST)), "")
    told = []
    if runner_up:
        told.append(
            f"its lead over the runner-up, {runner_up}, {_told(folder, BEST, best['model'], runner_up)}"
        )
    if plainest and plainest not in (best["model"], runner_up):
        told.append(
            f"that over the plainest one, {plainest}, {_told(folder, PLAINEST, best['model'], plainest)}"
        )
    elif plainest == best["model"]:
        told.append("it is also the plainest one")
    return f"{lead}; {', and '.join(told)}." if told else f"{lead}."


def _told(folder: ResultsFolder, family: str, model_a: str, model_b: str) -> str:
    """Say the difference of two configurations and whether both tests show it after the adjustment."""
    rows = {
        row["test"]: row
        for row in folder.rows(STUDY_COMPARISONS, family=family, model_a=model_a, model_b=model_b)
    }
    if set(rows) != {BOOTSTRAP, CORRECTED_T}:
        return "was not tested"
    by_patients, by_folds = rows[BOOTSTRAP], rows[CORRECTED_T]
    level = 1 - folder.tables.confidence
    shown = [(p := numeric(row["p_adjusted"])) is not None and p < level for row in (by_patients, by_folds)]
    verdict = {
        (True, True): "is real after correction" if family == PLAINEST else _CHOSEN_PAIR,
        (False, False): "was not shown to be real after correction",
        (True, False): "is shown over the patients but not over the folds after correction",
        (False, True): "is shown over the folds but not over the patients after correction",
    }[shown[0], shown[1]]
    p_values = [p_text(row["p_adjusted"]) or "not estimable" for row in (by_patients, by_folds)]
    numbers = f"{cell(by_patients, _DIFFERENCE, digits=3)}, its interval not adjusted; adjusted p {p_values[0]} over patients, {p_values[1]} over folds"
    return f"{verdict} ({numbers})"


def _equals(p: str) -> str:
    return (p if p.startswith("<") else f"= {p}") if p else "not estimable"


def _honest(folder: ResultsFolder) -> str:
    rows = {row["what"]: row for row in folder.rows(SELECTION)}
    if PICKED not in rows:
        return "The honest estimate of picking the best is not available, since selection.csv is missing."
    picked, optimism = rows[PICKED], numeric(rows[OPTIMISM]["estimate"])
    told = f"Picked in each fold without its test patients, the best of this grid reaches a macro AUC of {cell(picked)}"
    if optimism is not None:
        than = "below" if optimism >= 0 else "above"
        told += (
            f", {signed(abs(optimism), 3)} {than} the best row: what is optimistic in that, and what choosing on few tune "
            "patients costs"
        )
    low, high = numeric(picked["ci_low"]), numeric(picked["ci_high"])
    if low is not None and high is not None and low <= CHANCE <= high:
        told += ": not better than chance"
    return f"{told}."


def _against_no_images(folder: ResultsFolder) -> Iterator[str]:
    """Yield chance, and the best baseline that sees no images."""
    yield f"Chance is {CHANCE}."
    rows = [row for row in folder.rows(LEADERBOARD) if row["rank"] is None and row["model"] in WITHOUT_IMAGE]
    known = [row for row in rows if numeric(row["estimate"]) is not None]
    if known:
        best = max(known, key=lambda row: float(row["estimate"]))
        yield f"The best baseline without images, {best['model']}, has {cell(best)}."


def _main_factor(folder: ResultsFolder) -> Iterator[Element]:
    for row in folder.rows(FACTORS)[:1]:
        spread = numeric(row["spread"])
        if spread is None:
            continue
        chance = numeric(row["by_chance"])
        by_chance = "" if chance is None else f" (by chance {chance:.3f})"
        yield Note(
            f"The choice with the largest spread is {row['factor']}: {spread:.3f} between {row['best_level']} and "
            f"{row['worst_level']}, all else equal in {row['n_sets']} combinations of the other factors{by_chance}; adjusted p "
            f"{_equals(p_text(row['p_adjusted']))}.",
            lead="Which choice matters?",
        )


def _primary(folder: ResultsFolder) -> list[Element]:
    for row in folder.rows(STUDY_COMPARISONS, family=PRIMARY, test=BOOTSTRAP):
        return [
            Note(
                f"Primary comparison, declared beforehand: {row['model_a']} minus {row['model_b']}, macro {METRIC_NAMES[row['metric']]} "
                f"{cell(row, _DIFFERENCE, digits=3)}, p {_equals(p_text(row['p_value']))}."
            )
        ]
    return [Note("No comparison of two configurations was declared beforehand: every one is exploratory.")]


def run_section(folder: ResultsFolder) -> Section:
    """Return the section on the run with the grid in place of its hundreds of models."""
    section = overview.run_section(folder)
    rows = folder.rows(CONFIGURATIONS)
    factors = [column for column in (rows[0] if rows else ()) if column.startswith(FACTOR_PREFIX)]
    cells = [
        [column.removeprefix(FACTOR_PREFIX), ", ".join(map(str, distinct(rows, column)))]
        for column in factors
    ]
    grid = Table(
        ("factor", "levels"),
        cells,
        f"The grid of {len(rows)} configurations; a configuration is named by its levels of the factors that vary.",
        CONFIGURATIONS.file,
    )
    return Section(section.id, section.title, section.reading, [*section.elements[:1], grid])


def leaderboard_section(folder: ResultsFolder) -> Section:
    """Return the ranked configurations as a figure and a table."""
    table = leaderboard_table(folder)
    elements: list[Element] = [absent("The leaderboard", "leaderboard.csv is empty")]
    if table:
        elements = [figures.leaderboard(folder), table]
    return Section(
        "leaderboard",
        "Leaderboard",
        "How well does each configuration separate the classes on patients that it was not trained on? The first rows are "
        "optimistic, because they are the largest of many.",
        elements,
    )


def leaderboard_table(folder: ResultsFolder) -> Table | None:
    """Return the first configurations and the baselines with their costs; None of a folder without a leaderboard."""
    ranked = figures.ranked(folder)
    if not ranked:
        return None
    rows = ranked[:_MOST_ROWS]
    baselines = [row for row in folder.rows(LEADERBOARD) if row["rank"] is None]
    cells = [
        [text(row["rank"]), row["model"] if row["rank"] is not None else f"{row['model']} (baseline)", cell(row, digits=3),
         _number(row["tune_score"], 3), _number(row["fit_s"], 2), text(row["n_parameters"]), _number(row["slices_per_s"], 0)]
        for row in (*rows, *baselines)
    ]  # fmt: skip
    more = (
        f" The first {len(rows)} of {len(ranked)}; the CSV file holds all." if len(ranked) > len(rows) else ""
    )
    return Table(
        (
            "rank",
            "configuration",
            "macro AUC",
            "tune score",
            "seconds a fit",
            "parameters",
            "slices a second",
        ),
        cells,
        f"Configurations, and baselines, with their costs.{more}{reasons(rows)}",
        LEADERBOARD.file,
        frozenset({0}),
    )


def _number(value: object, digits: int) -> str:
    number = numeric(value)
    return "" if number is None else signed(number, digits)


def cost_section(folder: ResultsFolder) -> Section:
    """Return quality against the time to train."""
    has_costs = any(numeric(row["fit_s"]) for row in figures.ranked(folder))
    why = "no configuration has both an estimate and a measured time"
    return Section(
        "cost",
        "Quality and cost",
        "What does a better configuration cost, and which ones are beaten by something faster?",
        [figures.pareto(folder) if has_costs else absent("Quality against cost", why)],
    )


def factors_section(folder: ResultsFolder) -> Section:
    """Return which choice matters."""
    rows = folder.rows(FACTORS)
    elements: list[Element] = []
    if rows:
        cells = [
            [row["factor"], text(row["n_levels"]), text(row["n_sets"]), _estimated(row["spread"]),
             _estimated(row["by_chance"]), _mean(row, "best"), _mean(row, "worst"), p_text(row["p_adjusted"]), row["note"]]
            for row in rows
        ]  # fmt: skip
        columns = (
            "factor",
            "levels",
            "matched sets",
            "spread",
            "by chance",
            "best level",
            "worst level",
            "adjusted p",
            "note",
        )
        caption = (
            "Spread: largest minus smallest mean macro AUC of a level, over the combinations of the other factors that were "
            "tried with every level. It is never negative: read it beside what chance gives."
        )
        elements.append(Table(columns, cells, caption, FACTORS.file))
    if folder.rows(FACTOR_EFFECTS):
        elements.append(figures.factor_effects(folder))
    return Section(
        "factors",
        "Which choice matters?",
        "Each choice is judged within matched pairs: configurations that are equal in everything else.",
        elements
        or [absent("Effects of the factors", "no factor has two levels, or factor_effects.csv is missing")],
    )


def _estimated(value: object) -> str:
    return _number(value, 3) or text(value)


def _mean(row: Mapping[str, object], which: str) -> str:
    mean = numeric(row[f"{which}_mean"])
    return "" if mean is None else f"{row[f'{which}_level']} ({mean:.3f})"


def comparisons_section(folder: ResultsFolder) -> Section:
    """Return which of the best configurations differ, and which are better than the plainest one."""
    elements: list[Element] = []
    if folder.rows(RANKS):
        elements.append(figures.critical_difference(folder))
    elements += _comparisons(folder)
    return Section(
        "comparisons",
        "Are the differences real?",
        "Paired comparisons on the same patients and folds. The best configurations were chosen on these patients, so that "
        "their differences are exploratory; those to the plainest one are adjusted for all configurations.",
        elements
        or [absent("Comparisons", "the study has one configuration, or study_comparisons.csv is missing")],
    )


def _comparisons(folder: ResultsFolder) -> Iterator[Table]:
    for family, caption in (
        (PRIMARY, "The comparison declared beforehand, not adjusted."),
        (BEST, "Pairs of the best configurations, adjusted for all pairs among them."),
        (PLAINEST, "Configurations minus the plainest one, adjusted for all of them."),
    ):
        rows = folder.rows(STUDY_COMPARISONS, family=family)
        shown = rows[:_MOST_COMPARISONS]
        cells = [
            [f"{row['model_a']} − {row['model_b']}", row["test"], row["metric"],
             cell(row, _DIFFERENCE, digits=3), p_text(row["p_value"]),
             p_text(row["p_adjusted"]), text(row["n_comparisons"])]
            for row in shown
        ]  # fmt: skip
        if cells:
            more = (
                f" {len(shown)} of {len(rows)} rows; the CSV file holds all."
                if len(rows) > len(shown)
                else ""
            )
            columns = (
                "configurations",
                "test",
                "metric",
                "difference",
                "p",
                "adjusted p",
                "comparisons made",
            )
            yield Table(columns, cells, caption + more, STUDY_COMPARISONS.file)


def selection_section(folder: ResultsFolder) -> Section:
    """Return the honest estimate of picking the best beside the best row."""
    rows = folder.rows(SELECTION)
    elements: list[Element] = []
    if any(row["what"] == BEST_ROW for row in rows):
        cells = [[row["what"], row["model"], cell(row, digits=3)] for row in rows]
        caption = f"Ways to choose a configuration, and what each is worth.{reasons(rows)}"
        elements = [
            figures.winners_curse(folder),
            Table(("way to choose", "configuration", "macro AUC"), cells, caption, SELECTION.file),
        ]
    return Section(
        "selection",
        "What is picking the best worth?",
        "The largest of many estimates is too high: the winner's curse. Nested selection picks in each fold without its test "
        "patients, and says what a reader should expect.",
        elements or [absent("The honest estimate", "selection.csv is missing")],
    )


SECTIONS: tuple[Callable[[ResultsFolder], Section], ...] = (
    summary_section,
    overview.cohort_section,
    leaderboard_section,
    cost_section,
    factors_section,
    comparisons_section,
    selection_section,
    *study_curve_sections.SECTIONS,
    run_section,
)
"""In the order of the page."""
OF_A_BUDGET: tuple[Callable[[ResultsFolder], Section], ...] = (
    *study_budget_sections.SECTIONS,
    overview.cohort_section,
    overview.run_section,
)
"""Those of a study within a budget, which has no leaderboard."""
