from pathlib import Path

from aggregate.tables.catalogue import CATALOGUE, METRICS, expand, results_readme
from aggregate.tables.performance import performance_rows

README = Path(__file__).resolve().parents[3] / "results" / "README.md"


def test_the_readme_of_the_results_agrees_with_the_catalogue():
    """To mend: python -m aggregate.tables.catalogue > results/README.md."""
    assert README.read_text(encoding="utf-8") == results_readme()


def test_every_column_has_a_meaning_and_every_file_stands_once():
    files = [entry.file for entry in CATALOGUE]
    assert len(set(files)) == len(files)
    assert all(meaning for entry in CATALOGUE for meaning, _ in entry.columns.values())


def test_every_metric_is_explained(predictions, weights, settings):
    assert {row["metric"] for row in performance_rows(predictions, weights, settings)} == set(METRICS)


def test_a_pattern_stands_for_one_column_per_name():
    assert expand("p_<class>", {"phase": ("AP",), "class": ("HCC", "iCCA")}) == ["p_HCC", "p_iCCA"]
    assert expand("label", {"class": ("HCC",)}) == ["label"]
