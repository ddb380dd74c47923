from pathlib import Path

from aggregate.statistics.measures import METRICS
from aggregate.tables.dictionary import results_readme
from aggregate.tables.performance import performance_rows
from aggregate.tables.registry import all_tables
from aggregate.tables.table import Column

README = Path(__file__).resolve().parents[3] / "results" / "README.md"


def test_the_readme_of_the_results_agrees_with_the_tables():
    """To mend: python -m aggregate.tables.dictionary > results/README.md."""
    assert README.read_text(encoding="utf-8") == results_readme()


def test_every_table_is_found_and_has_a_place_of_its_own():
    tables = all_tables()
    assert len(tables) == len({table.place for table in tables}) == 60


def test_every_column_has_a_meaning_and_stands_once():
    for table in all_tables():
        assert all(column.meaning for column in table.columns)
        assert len(set(table.header())) == len(table.columns)


def test_every_metric_is_explained(predictions, weights, settings):
    assert {row["metric"] for row in performance_rows(predictions, weights, settings)} == set(METRICS)


def test_a_pattern_stands_for_one_column_per_name():
    names = {"phase": ("AP",), "class": ("HCC", "iCCA")}
    assert Column("p_<class>", "").expanded(names) == ["p_HCC", "p_iCCA"]
    assert Column("label", "").expanded(names) == ["label"]
