"""What a cohort table says of outcomes: read, left out with the reason, or refused by patient and line."""

from functools import partial

import numpy as np
import pytest

from aggregate.cohort.matching import match_cohort
from aggregate.outcomes.reading import outcome_of, with_outcomes
from aggregate.outcomes.section import OutcomeSection
from pipeline.bags import write_bag
from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from pipeline.errors import CohortError, PhasemilError
from tests.conftest import draw_bag

SURVIVAL = OutcomeSection(time="months", event="died", horizons=(12.0,))


def cohort_of(tmp_path, lines, header="patient_id,months,died"):
    (tmp_path / "cohort.csv").write_text("\n".join([header, *lines]) + "\n")
    return read_cohort(CohortSection(table=tmp_path / "cohort.csv"), needs_scans=False, has_labels=False)


def test_times_and_events_in_every_accepted_spelling(tmp_path):
    cohort = cohort_of(tmp_path, ["a,3.5,1", "b,10,0", "c,4,Yes", "d,5,no", "e,6,TRUE", "f,7,false"])
    outcome = outcome_of(cohort.patients, SURVIVAL, "survival")
    assert outcome.values["time"].tolist() == [3.5, 10, 4, 5, 6, 7]
    assert outcome.values["event"].tolist() == [True, False, True, False, True, False]
    assert [p.label for p in with_outcomes(cohort, SURVIVAL, "survival").patients][:2] == [
        "event",
        "censored",
    ]


def test_a_patient_without_an_outcome_is_left_out_with_the_reason(tmp_path):
    cohort = with_outcomes(cohort_of(tmp_path, ["a,3,1", "b,,0", "c,5,NA"]), SURVIVAL, "survival")
    assert [p.label for p in cohort.patients] == ["event", None, None]
    assert [(e.patient_id, e.reason) for e in cohort.exclusions] == [
        ("b", "no outcome: 'months' is empty"),
        ("c", "no outcome: 'died' is NA"),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("b,0,1", "patient b (line 3): expected a number above 0 in column 'months', found '0'"),
        ("b,-2,1", "patient b (line 3): expected a number above 0 in column 'months', found '-2'"),
        ("b,>60,1", "patient b (line 3): expected a number above 0 in column 'months', found '>60'"),
        ("b,3,dead", "patient b (line 3): expected one of yes, true, 1, 1.0, no, false, 0, 0.0"),
        ("b,3,2", "found '2'"),
    ],
)
def test_what_is_no_outcome_is_refused_by_patient_and_line(tmp_path, line, told):
    cohort = cohort_of(tmp_path, ["a,3,1", line, "c,9,0", "d,8,0"])
    with pytest.raises(CohortError) as caught:
        with_outcomes(cohort, SURVIVAL, "survival")
    assert told in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path):
    cohort = cohort_of(tmp_path, ["a,0,1", "b,3,dead", "c,9,0", "d,8,0"])
    with pytest.raises(PhasemilError, match=r"(?s)patient a.*patient b"):
        with_outcomes(cohort, SURVIVAL, "survival")


def test_further_spellings_of_the_event_are_those_that_the_configuration_names(tmp_path):
    """As in tables where 1 is alive and 2 is dead."""
    section = SURVIVAL.model_copy(update={"event_aliases": {"1": "no", "2": "yes", "Deceased": "yes"}})
    cohort = cohort_of(tmp_path, ["a,3,1", "b,4,2", "c,5,deceased"])
    assert outcome_of(cohort.patients, section, "survival").values["event"].tolist() == [False, True, True]


def test_rows_of_one_patient_that_disagree_are_refused(tmp_path):
    cohort = cohort_of(tmp_path, ["a,3,1", "a,4,1"])
    with pytest.raises(CohortError, match=r"patient a .*'3' .*'4' "):
        with_outcomes(cohort, SURVIVAL, "survival")


def test_a_column_that_is_none_is_refused_with_the_nearest(tmp_path):
    cohort = cohort_of(tmp_path, ["a,3,1"], header="patient_id,month,died")
    with pytest.raises(CohortError, match=r"'months' is no column of the cohort table.*'month'"):
        with_outcomes(cohort, SURVIVAL, "survival")


def test_grades_are_those_of_the_order(tmp_path):
    section = OutcomeSection(column="grade", order=("G1", "G2", "G3"))
    cohort = cohort_of(tmp_path, ["a,G2", "b,g3", "c,G1"], header="patient_id,grade")
    assert outcome_of(cohort.patients, section, "ordinal").values.tolist() == [1, 2, 0]
    with pytest.raises(CohortError, match=r"patient a .*expected one of G1, G2, G3 .*found 'G4'"):
        with_outcomes(cohort_of(tmp_path, ["a,G4"], header="patient_id,grade"), section, "ordinal")


def test_the_diagnosis_is_a_covariate_where_it_is_not_predicted(tmp_path):
    cohort = cohort_of(tmp_path, ["a,3,1,HCC"], header="patient_id,months,died,label")
    assert cohort.patients[0].covariates["label"] == "HCC"


@pytest.mark.parametrize(("event", "absent"), [("0", "event"), ("1", "censored")])
def test_a_cohort_in_which_all_fare_alike_is_refused_as_an_outcome_and_not_as_a_class(
    tmp_path, event, absent
):
    cohort_of(tmp_path, [f"a,3,{event}", f"b,4,{event}"])
    for name in "ab":
        write_bag(tmp_path, draw_bag(name, 0, np.random.default_rng(0)))
    section = CohortSection(table=tmp_path / "cohort.csv", classes=("censored", "event"))
    labelled = partial(with_outcomes, section=SURVIVAL, task="survival")
    with pytest.raises(CohortError, match=rf"no patient with a bag has the outcome '{absent}'"):
        match_cohort(section, {"bags": tmp_path}, labelled=labelled)


def test_finer_groups_are_even_in_time(tmp_path):
    lines = [f"p{i:02},{i + 1},{i % 2}" for i in range(24)]
    outcome = outcome_of(cohort_of(tmp_path, lines).patients, SURVIVAL, "survival")
    codes, names = outcome.fine_codes(2)
    assert len(names) == 6
    assert np.bincount(codes).tolist() == [4] * 6
    times = outcome.values["time"]
    assert times[codes == 0].max() < times[codes == 1].min()
