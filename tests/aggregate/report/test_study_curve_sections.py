"""The sections of a study on more patients, fewer phases and slices, and classes that were not trained on."""

import json

import matplotlib as mpl
import pytest

from aggregate.drawing import STYLE
from aggregate.report.elements import Figure, Note, Table
from aggregate.report.folder import ResultsFolder
from aggregate.report.study_curve_sections import (
    SECTIONS,
    learning_curve_section,
    projection_section,
    robustness_section,
)
from aggregate.study.learning_curve import LEARNING_CURVE
from aggregate.study.projection import PROJECTION
from aggregate.study.robustness import NOTHING, ONLY, ROBUSTNESS, SLICES, WITHOUT
from aggregate.tables.results import ResultTables

NO_LAW = "not estimable: the AUC does not rise from the fewest to the most training patients"


@pytest.fixture
def out(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"config": {"aggregate": {}, "cohort": {}}}))
    return tmp_path


@pytest.fixture(autouse=True)
def drawn_as_in_the_report():
    with mpl.rc_context(STYLE):
        yield


def estimate(value, low=None, high=None, method="bootstrap"):
    return {"estimate": value, "ci_low": low, "ci_high": high, "ci_method": method, "n": 40}


def curve_row(n, cells, law=(None, None, None), *, extrapolated=False):
    return {
        "model": "mean", "share": None, "n_train": n, "n_tune": None, "extrapolated": extrapolated, **cells,
        **dict(zip("abc", law, strict=True)),
    }  # fmt: skip


def elements_of(section, kind):
    return [element for element in section.elements if isinstance(element, kind)]


@pytest.mark.parametrize("section", SECTIONS)
def test_without_its_table_a_section_tells_why(out, section):
    (note,) = section(ResultsFolder(out)).elements
    assert isinstance(note, Note)
    assert "not available, since" in note.text


def test_the_curve_marks_what_is_extrapolated(out):
    rows = [curve_row(n, estimate(0.6 + n / 400, 0.5, 0.9)) for n in (20, 40, 60)]
    rows.append(curve_row(200, estimate(0.8, 0.6, 0.95), (0.85, 1.2, 0.6), extrapolated=True))
    ResultTables(out).write(LEARNING_CURVE, rows)
    section = learning_curve_section(ResultsFolder(out))
    (table,), (figure,) = elements_of(section, Table), elements_of(section, Figure)
    assert [row[2] for row in table.rows] == ["trained", "trained", "trained", "extrapolated"]
    assert "planning aid" in figure.svg
    assert any("planning aid" in note.text for note in elements_of(section, Note))


def test_a_curve_that_does_not_rise_is_drawn_without_a_law(out):
    missing = estimate("not estimable", "not estimable", "not estimable", NO_LAW)
    rows = [curve_row(20, estimate(0.7, 0.6, 0.8)), curve_row(200, missing, extrapolated=True)]
    ResultTables(out).write(LEARNING_CURVE, rows)
    section = learning_curve_section(ResultsFolder(out))
    (table,), (figure,) = elements_of(section, Table), elements_of(section, Figure)
    assert "does not rise" in table.caption
    assert "extrapolated" not in figure.svg


def test_what_is_taken_away_is_said_in_words(out):
    changes = [(NOTHING, "", None), (WITHOUT, "AP", None), (ONLY, "AP", None), (SLICES, "", 0.25)]
    difference = {
        "difference": -0.1,
        "difference_low": -0.2,
        "difference_high": 0.0,
        "difference_method": "p",
    }
    rows = [
        {"model": "mean", "change": c, "phase": p, "share": s, **estimate(0.7, 0.6, 0.8), **difference}
        for c, p, s in changes
    ]
    ResultTables(out).write(ROBUSTNESS, rows)
    (table,) = elements_of(robustness_section(ResultsFolder(out)), Table)
    assert [row[1] for row in table.rows] == ["everything", "without AP", "AP alone", "25 % of the slices"]


@pytest.mark.parametrize("trained", [("HCC", "iCCA"), ("HCC", "iCCA", "metastasis")], ids=["two", "three"])
def test_projected_patients_are_counted_by_the_class_they_resemble(out, trained):
    scores = [(0.8, 0.2), (0.7, 0.3), (0.1, 0.9)]
    rows = [
        {
            "model": "mean", "patient_id": f"p{i}", "label": label, "projected": label == "mixed", "n_models": 4,
            **{f"p_{name}": value for name, value in zip(trained, (*score, 0.0), strict=False)},
            "sd_over_models": 0.1,
        }
        for label in ("mixed", *trained) for i, score in enumerate(scores)
    ]  # fmt: skip
    ResultTables(out).write(PROJECTION, rows, {"class": trained})
    section = projection_section(ResultsFolder(out))
    (table,), (figure,) = elements_of(section, Table), elements_of(section, Figure)
    assert table.rows[0][:4] == ["mean", "mixed (n = 3)", "2 (0.70)", "1 (0.30)"]
    assert "mixed, not trained on (n = 3)" in figure.svg
