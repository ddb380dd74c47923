from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.tables.confounders import CONFOUNDERS, confounder_rows


def by_key(rows):
    assert all(list(row) == CONFOUNDERS.header() for row in rows)
    return {(r["confounder"], r["class"], r["metric"]): r for r in rows}


def test_the_value_is_ranked_as_scikit_learn_does(predictions, cohort, settings):
    row = by_key(list(confounder_rows(predictions, cohort, settings)))[
        "bag size (slices)", "HCC", "auc_of_value"
    ]
    assert row["estimate"] == pytest.approx(roc_auc_score(predictions.labels == 0, predictions.n_slices))


def test_patients_without_a_value_are_left_out_and_counted(predictions, cohort, settings):
    found = by_key(list(confounder_rows(predictions, cohort, settings)))
    assert found["tumour volume (ml)", "macro", "auc"]["n"] == 44
    assert found["centre", "macro", "auc"]["n"] == 45


def test_a_centre_that_decides_the_label_is_found(predictions, cohort, settings):
    leaking = CohortFacts(tuple(replace(p, centre=f"centre of {p.label}") for p in cohort.patients))
    found = by_key(list(confounder_rows(predictions, leaking, settings)))
    assert found["centre", "macro", "auc"]["estimate"] == 1
    assert found["bag size (slices)", "macro", "auc"]["estimate"] < 0.7


def test_labels_without_a_relation_to_the_confounder_give_one_half(predictions, cohort, settings):
    rng = np.random.default_rng(0)
    aucs = []
    for _ in range(6):
        shuffled = replace(predictions, labels=rng.permuted(predictions.labels))
        rows = by_key(list(confounder_rows(shuffled, cohort, settings)))
        aucs.append(rows["bag size (slices)", "HCC", "auc_of_value"]["estimate"])
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.12)


def test_what_is_the_same_for_all_is_no_confounder(predictions, cohort, settings):
    same = CohortFacts(tuple(replace(p, centre=None, slice_thickness_mm=5.0) for p in cohort.patients))
    found = {key[0] for key in by_key(list(confounder_rows(predictions, same, settings)))}
    assert found == {"bag size (slices)", "tumour volume (ml)", "phases present"}
