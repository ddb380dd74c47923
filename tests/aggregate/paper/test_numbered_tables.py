"""The tables of a paper print the report's numbers, and show what was declared, not what came out best."""

import json
import re
from html import unescape

import pytest

from aggregate.paper.declared import declared_models
from aggregate.paper.numbered_tables import CHARACTERISTICS, DIFFERENCES, MODELS, PERFORMANCES, tables_of
from aggregate.report.folder import ResultsFolder
from aggregate.report.page import write_report


def words_of(page):
    return unescape(re.sub("<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_number_of_the_performance_stands_in_the_report_as_well(results):
    path = results()
    page = words_of(write_report(path))
    rows = tables_of(ResultsFolder(path))[PERFORMANCES].rows
    assert [row[:2] for row in rows[:4]] == [["attention", of] for of in ("macro", "HCC", "iCCA", "cHCC-CCA")]
    shown = [number for row in rows if row[0] == "attention" or row[1] == "macro" for number in row[3:]]
    assert len(shown) == 3 * 5
    assert [number for number in shown if number not in page] == []


def test_the_differences_of_the_declared_models_stand_in_the_report_as_well(results):
    path = results()
    page = words_of(write_report(path))
    table = tables_of(ResultsFolder(path))[DIFFERENCES]
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("attention − bag_size", "yes"),
        ("attention − bag_size", "no"),
    ]
    assert all(row[3] in page for row in table.rows)
    assert table.emphasised == {0}


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ("attention", "bag_size")),
        ({"statistics": {"primary": None}, "explained_model": "attention"}, ("attention",)),
        ({"statistics": {"primary": None}, "model": {"bag_size": {"kind": "attention_mil"}}}, ("attention", "bag_size")),
    ],
    ids=["the primary comparison", "the explained model", "all, in the order of the configuration"],
)  # fmt: skip
def test_the_declared_models_are_shown_and_never_the_best(results, changes, shown):
    assert declared_models(ResultsFolder(results(**changes))) == shown


def test_the_first_table_is_that_of_the_report(results):
    path = results()
    table = tables_of(ResultsFolder(path))[CHARACTERISTICS]
    page = words_of(write_report(path))
    assert [row[0] for row in table.rows][:3] == ["patients", "centre: A", "centre: B"]
    assert all(cell in page for row in table.rows for cell in row)


def test_the_models_are_told_with_their_paper_and_with_the_defaults_of_their_own_version_only(results):
    path = results(model={"attention": {"kind": "attention_mil", "hidden": 32}})
    (row,) = tables_of(ResultsFolder(path))[MODELS].rows
    assert "Ilse" in row[1]
    assert row[2] == "hidden: 32"
    assert row[3].startswith("those of phasemil")
    record = json.loads((path / "run.json").read_text())
    record["software"]["phasemil"] = "0.1.0"
    (path / "run.json").write_text(json.dumps(record))
    (row,) = tables_of(ResultsFolder(path))[MODELS].rows
    assert "gate = 64" in row[3]
    assert "hidden" not in row[3]
