"""The covariates baseline: an age that tells the class tells it however the column is written."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.cohort_facts import CohortFacts, PatientFacts
from aggregate.leaks import check_no_label_among_covariates
from aggregate.models.base import BagEstimator
from aggregate.models.baselines import Covariates
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.subgroups import subgroups_of
from pipeline.bags import Bag, BagHeader, Recipe, Source
from pipeline.cohort import Patient
from pipeline.errors import LeakError

N = 24
LABELS = np.arange(N) % 3
AGES = 30 + 15 * LABELS + np.arange(N) // 3
"""Three bands of eight years, one per class."""
EVERYBODY = [f"p{i}" for i in range(N)]


def named(patient_id: str) -> Bag:
    """Return a bag of one instance; the baseline looks at the identifier alone."""
    source = Source("a.nii.gz", patient_id, "m", "drawn", (1.0, 1.0, 5.0), 1)
    recipe = Recipe("e", "l", "w", "0", "float32", {})
    header = BagHeader(patient_id, ("AP",), {}, ("tight",), recipe, {"AP": source}, patient_id, 1e5, 224)
    return Bag(
        header=header,
        features=np.zeros((1, 2), np.float32),
        phase=np.zeros(1, np.int8),
        slice_index=np.zeros(1, np.int32),
        z_mm=np.zeros(1, np.float32),
        tumour_area_mm2=np.ones(1, np.float32),
        lesion=np.ones(1, np.int16),
        scale=np.zeros(1, np.int8),
    )


def fitted(cells: list[str]) -> BagEstimator:
    table = {name: {"age": cell} for name, cell in zip(EVERYBODY, cells, strict=True)}
    return Covariates(covariates=table, random_state=0).fit([named(name) for name in EVERYBODY], LABELS)


def macro_auc(cells: list[str]) -> float:
    probabilities = fitted(cells).predict_proba([named(name) for name in EVERYBODY])
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
    (shares,) = fitted(ages({4: "NA"})).predict_proba([named("p4")])
    np.testing.assert_allclose(shares, 1 / 3)


def test_what_a_column_is_does_not_hang_on_who_is_trained_on():
    cells = ages({0: "old", 1: "old", 2: "old"})
    table = {name: {"age": cell} for name, cell in zip(EVERYBODY, cells, strict=True)}
    few = [named(name) for name in EVERYBODY[:4]]
    model = Covariates(covariates=table, random_state=0).fit(few, LABELS[:4])
    np.testing.assert_array_equal(model.vectors(few)[:, 1], [np.nan, np.nan, np.nan, 31.5])


def test_a_saved_model_gives_the_same_probabilities(tmp_path):
    model = fitted(ages({4: "NA"}))
    model.save(tmp_path)
    again = Covariates.load(tmp_path)
    again.covariates = model.covariates
    bags = [named(name) for name in EVERYBODY]
    np.testing.assert_array_equal(again.predict_proba(bags), model.predict_proba(bags))


@pytest.mark.parametrize("cell", ["NA", "n/a", "", "unknown"])
def test_a_column_that_is_the_label_is_found_though_a_cell_is_missing(cell):
    cells = [cell if i == 4 else str(label) for i, label in enumerate(LABELS)]
    patients = [
        Patient(name, {}, None, covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    ]
    with pytest.raises(LeakError, match="covariate 'x' tells the label"):
        check_no_label_among_covariates(["x"], patients, LABELS)


def test_a_column_that_is_filled_in_for_one_class_only_is_found():
    labels = np.arange(N) % 2
    cells = ["resected" if label else "" for label in labels]
    patients = [
        Patient(name, {}, None, covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    ]
    with pytest.raises(LeakError, match="values such as 'resected'"):
        check_no_label_among_covariates(["x"], patients, labels)


def test_two_patients_with_a_value_of_their_own_are_no_leak():
    cells = ["a", "b", *[""] * (N - 2)]
    patients = [
        Patient(name, {}, None, covariates={"x": c}) for name, c in zip(EVERYBODY, cells, strict=True)
    ]
    check_no_label_among_covariates(["x"], patients, LABELS)


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
