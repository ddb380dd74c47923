"""Slice votes by hand."""

import numpy as np
import pytest

from aggregate.explain.inputs import PerInstance, attention_of, evidence_of
from aggregate.explain.votes import vote_rows, vote_shares


def test_each_slice_votes_for_its_strongest_class():
    evidence = PerInstance("m", {0: np.array([[[3.0, 1, 0], [0, 2, 1], [0, 0, 5], [4, 0, 0]]])})
    attention = PerInstance("m", {0: np.array([[0.7, 0.1, 0.1, 0.1]])})
    plain, weighted = vote_shares(evidence, attention, 3)
    assert plain[0].tolist() == [0.5, 0.25, 0.25]
    assert weighted[0] == pytest.approx([0.8, 0.1, 0.1])


def test_a_vote_that_changes_between_repeats_counts_in_parts():
    evidence = PerInstance("m", {0: np.array([[[1.0, 0]], [[0.0, 1]]])})
    assert vote_shares(evidence, None, 2)[0][0].tolist() == [0.5, 0.5]


def test_the_shares_of_a_patient_sum_to_one_and_the_control_is_the_others(inputs):
    rows = list(
        vote_rows(
            evidence_of(inputs, "attention"),
            attention_of(inputs, "attention"),
            inputs.patients,
        )
    )
    first = [row for row in rows if row["patient_id"] == "p000"]
    assert sum(row["share"] for row in first) == pytest.approx(1)
    assert sum(row["weighted_share"] for row in first) == pytest.approx(1)
    others = [row["share"] for row in rows if row["class"] == "HCC" and row["patient_id"] != "p000"]
    assert first[0]["share_of_others"] == pytest.approx(np.mean(others))
