"""Outcomes of a phantom: drawn from the signs, beside the images, which do not change."""

import math

import numpy as np
import pytest

from extract.phantom.config import OutcomesSection, PhantomSection
from extract.phantom.outcomes import COLUMNS, GRADES, draw_outcomes
from extract.phantom.subjects import draw_subjects
from extract.phantom.truth import COHORT_COLUMNS, write_cohort_table, write_truth
from pipeline.drawn_outcomes import read_drawn_outcomes, write_drawn_outcomes
from pipeline.tables import read_table

MANY = PhantomSection(patients={"HCC": 300, "iCCA": 300, "cHCC-CCA": 200}, seed=4)


@pytest.fixture(scope="module")
def subjects():
    return draw_subjects(MANY)


def drawn(subjects, **keys):
    return draw_outcomes(OutcomesSection(**keys), subjects, seed=4)


def column(outcomes, subjects, name):
    return np.array([float(outcomes.cells[s.patient_id][name]) for s in subjects])


def test_survival_follows_the_drawn_curve(subjects):
    """Of each patient S(T) of the drawn curve at the drawn time is uniform, where nobody is censored."""
    outcomes = drawn(subjects, follow_up_months=(1e6, 1e6))
    survival, months = outcomes.drawn.survival, column(outcomes, subjects, "months")
    risk = np.array([survival.log_hazard[s.patient_id] for s in subjects])
    left = np.exp(-((months / survival.scale) ** survival.shape) * np.exp(risk))
    assert column(outcomes, subjects, "died").all()
    assert np.quantile(left, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.05)


def test_the_median_is_that_of_the_section_at_risk_0(subjects):
    survival = drawn(subjects, median_months=10).drawn.survival
    assert math.exp(-((10 / survival.scale) ** survival.shape)) == pytest.approx(0.5)


def test_nobody_is_observed_longer_than_the_follow_up(subjects):
    outcomes = drawn(subjects, follow_up_months=(12, 36))
    months, died = (column(outcomes, subjects, name) for name in ("months", "died"))
    assert months.min() > 0
    assert months.max() <= 36
    assert months[died == 0].min() >= 12


def test_grades_have_the_drawn_shares_and_numbers_their_means(subjects):
    outcomes = drawn(subjects)
    shares = np.array([outcomes.drawn.grade.probabilities[s.patient_id] for s in subjects])
    grades = [outcomes.cells[s.patient_id]["grade"] for s in subjects]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [grades.count(g) / len(grades) for g in GRADES] == pytest.approx(shares.mean(axis=0), abs=0.05)
    noise = column(outcomes, subjects, "mvi_score") - [
        outcomes.drawn.number.mean[s.patient_id] for s in subjects
    ]
    assert noise.std() == pytest.approx(8, abs=0.8)


def test_without_effect_no_image_tells_them(subjects):
    outcomes = drawn(subjects, effect=0.0)
    assert set(outcomes.drawn.survival.log_hazard.values()) == {0.0}
    assert len(set(outcomes.drawn.number.mean.values())) == 1


def test_the_tables_have_the_outcomes_and_otherwise_what_they_had(tmp_path, subjects):
    few, outcomes = subjects[:5], drawn(subjects)
    for name, given in (("with", outcomes), ("without", None)):
        write_cohort_table(tmp_path / f"{name}.csv", few, given)
        write_truth(tmp_path / f"{name}_truth.csv", few, MANY, given)
    with_, without = (read_table(tmp_path / f"{name}.csv") for name in ("with", "without"))
    assert list(with_[0]) == [*COHORT_COLUMNS, *COLUMNS]
    assert [{name: row[name] for name in COHORT_COLUMNS} for row in with_] == [dict(row) for row in without]
    truth = read_table(tmp_path / "with_truth.csv")[0]
    risk = outcomes.drawn.survival.log_hazard[few[0].patient_id]
    assert float(truth["drawn_risk"]) == pytest.approx(risk, abs=1e-5)


def test_what_they_were_drawn_from_is_told_of_this_table_only(tmp_path, subjects):
    table = tmp_path / "cohort.csv"
    write_cohort_table(table, subjects[:5], drawn(subjects))
    write_drawn_outcomes(table, drawn(subjects).drawn)
    found = read_drawn_outcomes(table)
    assert found is not None
    assert found.survival.log_hazard == drawn(subjects).drawn.survival.log_hazard
    table.write_text(table.read_text() + "\n")
    assert read_drawn_outcomes(table) is None
    assert read_drawn_outcomes(tmp_path / "other" / "cohort.csv") is None


def test_the_follow_up_is_a_range():
    with pytest.raises(ValueError, match="shortest and the longest"):
        OutcomesSection(follow_up_months=(40, 12))
