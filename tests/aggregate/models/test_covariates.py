"""The covariates baseline: an age that tells the class tells it however the column is written."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.cohort.patient import Patient as Sample
from aggregate.cohort.patient_facts import CohortFacts, PatientFacts
from aggregate.models.baselines import Covariates
from aggregate.planning.leaks import check_no_label_among_covariates
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.subgroups import subgroups_of
from pipeline.cohort import Patient
from pipeline.covariates import read_covariate
from pipeline.errors import LeakError

N = 24
LABELS = np.arange(N) % 3
AGES = 30 + 15 * LABELS + np.arange(N) // 3
"""Three bands of eight years, one per class."""
EVERYBODY = [f"p{i}" for i in range(N)]


def people(cells: list[str]) -> list[Sample]:
    """Return a patient for each cell; the baseline reads no bag."""
    column = read_covariate("age", dict(zip(EVERYBODY, cells, strict=True)))
    return [Sample(name, {}, {"age": column.values[name]}) for name in EVERYBODY]


def fitted(cells: list[str]) -> Covariates:
    return Covariates(covariates=("age",), random_state=0).fit(people(cells), LABELS)


def macro_auc(cells: list[str]) -> float:
    probabilities = fitted(cells).predict_proba(people(cells))
    return float(roc_auc_score(LABELS, probabilities, multi_class="ovr"))


def ages(changes: dict[int, str] | None = None, decimal: str = ".") -> list[str]:
    cells = [f"{age}{decimal}5" for age in AGES]
    return [(changes or {}).get(i, cell) for i, cell in enumerate(cells)]


@pytest.mark.parametrize(
    "cells",
    [ages(), ages(decimal=","), ages({4: "45,5"})],
    ids=["decimal points", "decimal commas", "one decimal comma"],
)
def test_an_age_that_tells_the_class_has_an_auc_of_one(cells):
    assert macro_auc(cells) == 1.0


@pytest.mark.parametrize("cell", ["NA", "n/a", "", ">75", "unknown"])
@pytest.mark.parametrize("patient", [3, 4, 5], ids=["youngest class", "middle class", "oldest class"])
def test_one_cell_that_is_no_number_costs_no_more_than_its_patient(cell, patient):
    """All 23 others stay told apart; read as words, the column lost most of them (AUC 0.81)."""
    assert round(macro_auc(ages({patient: cell})), 2) >= 0.99


def test_a_patient_of_whom_nothing_is_known_gets_the_class_shares():
    cells = ages({4: "NA"})
    (shares,) = fitted(cells).predict_proba(people(cells)[4:5])
    np.testing.assert_allclose(shares, 1 / 3)


def test_what_a_column_is_does_not_hang_on_who_is_trained_on():
    cells = ages({0: "old", 1: "old", 2: "old"})
    few = people(cells)[:4]
    model = Covariates(covariates=("age",), random_state=0).fit(few, LABELS[:4])
    np.testing.assert_array_equal(model.covariate_columns_.columns(few)[:, 0], [np.nan, np.nan, np.nan, 31.5])


def test_a_saved_model_gives_the_same_probabilities(tmp_path):
    cells = ages({4: "NA"})
    model = fitted(cells)
    model.save(tmp_path)
    again = Covariates.load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(people(cells)), model.predict_proba(people(cells)))
    assert not any(
        name in path.read_text(errors="ignore") for path in tmp_path.iterdir() for name in EVERYBODY
    )


@pytest.mark.parametrize("cell", ["NA", "n/a", "", "unknown"])
def test_a_column_that_is_the_label_is_found_though_a_cell_is_missing(cell):
    cells = [cell if i == 4 else str(label) for i, label in enumerate(LABELS)]
    patients = [
        Patient(name, {}, None, covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    ]
    with pytest.raises(LeakError, match="covariate 'x' tells the label"):
        check_no_label_among_covariates({"x": "[aggregate] covariates"}, patients, LABELS)


def test_a_column_that_is_filled_in_for_one_class_only_is_found():
    labels = np.arange(N) % 2
    cells = ["resected" if label else "" for label in labels]
    patients = [
        Patient(name, {}, None, covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    ]
    with pytest.raises(LeakError, match="values such as 'resected'"):
        check_no_label_among_covariates({"x": "[aggregate] covariates"}, patients, labels)


def test_two_patients_with_a_value_of_their_own_are_no_leak():
    cells = ["a", "b", *[""] * (N - 2)]
    patients = [
        Patient(name, {}, None, covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    ]
    check_no_label_among_covariates({"x": "[aggregate] covariates"}, patients, LABELS)


@pytest.mark.parametrize(
    ("cells", "levels"),
    [
        (ages({3: "NA", 5: ">75"}), ["up to 49", "above 49"]),
        (ages(decimal=","), ["up to 49", "above 49"]),
        ([f"2015-03-{i + 1:02}" for i in range(N)], ["up to 2015-03-12", "after 2015-03-12"]),
        (["F", "M", "NA"] * 8, ["F", "M"]),
    ],
    ids=["numbers", "decimal commas", "dates", "words"],
)
def test_subgroups_are_formed_by_the_same_rule(cells, levels):
    people = tuple(
        PatientFacts(name, "HCC", covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    )
    groups = subgroups_of(CohortFacts(people), StatisticsSection(subgroup_covariates=("x",)))
    assert [group.level for group in groups if group.name == "x"] == levels
