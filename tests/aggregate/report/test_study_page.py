"""The page of a study: its own sections, the answer in the first one, and figures that fit 12 to 40 rows."""

import json
import re
from html import unescape

import pytest

from aggregate.report.page import write_report
from aggregate.statistics.config import StatisticsSection
from aggregate.study.configurations import write_configurations
from aggregate.study.factor_effects import FACTOR_EFFECTS, FACTORS
from aggregate.study.leaderboard import LEADERBOARD, ranking
from aggregate.study.ranks import RANKS
from aggregate.study.selection import SELECTION
from aggregate.study.study_comparisons import STUDY_COMPARISONS
from aggregate.tables.results import ResultTables
from tests.aggregate.report.conftest import record
from tests.aggregate.study.drawn import drawn_study, levels_of

SECTIONS = [
    "summary",
    "cohort",
    "leaderboard",
    "cost",
    "factors",
    "comparisons",
    "selection",
    "learning_curve",
    "robustness",
    "projection",
    "run",
    "checklist",
    "tables",
    "glossary",
]
GRID = levels_of({"encoder": ("lite0", "random"), "aggregator": ("mean", "attention"), "phases": ("all",)})
SETTINGS = StatisticsSection(draws=100)


@pytest.fixture
def page(tmp_path):
    """Return a function that writes the report of a study and returns its text."""

    def write(study):
        (tmp_path / "run.json").write_text(json.dumps(record()))
        tables = ResultTables(tmp_path)
        write_configurations(tables, study.configurations)
        for table in (LEADERBOARD, SELECTION, FACTORS, FACTOR_EFFECTS, STUDY_COMPARISONS, RANKS):
            tables.write(table, table.rows(study), study.patterns)
        return write_report(tmp_path).read_text(encoding="utf-8")

    return write


def words(text, section):
    part = re.search(rf'<section id="{section}".*?</section>', text, re.DOTALL)[0]
    return unescape(re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", re.sub("</?a[^>]*>", "", part))))


def test_a_study_has_its_own_sections_and_figures(page, tmp_path):
    text = page(
        drawn_study(GRID, n=48, strength=lambda of: 2.0 * (of["encoder"] == "lite0"), settings=SETTINGS)
    )
    assert re.findall(r'<section id="(\w+)"', text) == SECTIONS
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == {
        "leaderboard", "pareto", "factor_effects", "critical_difference", "winners_curse",
    }  # fmt: skip
    assert "mathdefault" not in text


def test_the_first_screen_says_what_is_best_and_by_how_much(page):
    study = drawn_study(GRID, n=90, strength=lambda of: 4.0 * (of["encoder"] == "lite0"), settings=SETTINGS,
                        plainest="random/mean/all")  # fmt: skip
    summary, order = words(page(study), "summary"), ranking(study)
    assert f"Of 4 configurations on 90 patients, {order[0]} has the highest macro AUC" in summary
    assert f"its lead over the runner-up, {order[1]}, was not shown to be real after correction" in summary
    assert "that over the plainest one, random/mean/all, is real after correction" in summary
    assert "Picked in each fold without its test patients, the best of this grid reaches" in summary
    assert "The choice with the largest spread is encoder" in summary
    assert "not better than chance" not in summary


def test_a_study_without_a_signal_is_called_not_better_than_chance(page):
    summary = words(page(drawn_study(GRID, n=48, strength=lambda _: 0.0, settings=SETTINGS)), "summary")
    assert ": not better than chance." in summary


def test_a_study_of_one_configuration_says_what_is_missing(page):
    text = page(drawn_study([{"aggregator": "mean"}], n=30, settings=SETTINGS))
    assert "its lead over" not in words(text, "summary")
    assert "Effects of the factors: not available, since no factor has two levels" in words(text, "factors")


def test_the_grid_is_shown_in_place_of_its_models(page):
    run = words(page(drawn_study(GRID, n=30, settings=SETTINGS)), "run")
    assert "encoder lite0, random" in run
    assert "Models of the configuration" not in run


def test_the_leaderboard_is_drawn_in_a_block_per_level_of_the_main_factor(page, tmp_path):
    study = drawn_study(GRID, n=90, strength=lambda of: 4.0 * (of["encoder"] == "lite0"), settings=SETTINGS)
    page(study)
    drawn = (tmp_path / "figures" / "leaderboard.svg").read_text(encoding="utf-8")
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    first, second = lines.index("encoder: lite0"), lines.index("encoder: random")
    assert [line.split()[0] for line in lines[first + 1 : second]] == ["1", "2"]
    assert [line.split()[0] for line in lines[second + 1 : second + 3]] == ["3", "4"]
