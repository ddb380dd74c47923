"""Slice votes: the class with the highest evidence (logit) of each slice, as shares per patient.

For mixed tumours this follows published work on histology: not one class per patient but the share of the tissue that
resembles each class (JHEP Rep 2024;6:101008, shares of clusters per slide).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patients import Patients
from aggregate.explain.inputs import PerInstance
from aggregate.tables.shared_columns import LABEL, MODEL, PATIENT_ID
from aggregate.tables.table import Column, Kind, Step, Table

SLICE_VOTES = Table(
    "slice_votes.csv",
    "model x patient x class",
    (
        MODEL,
        PATIENT_ID,
        LABEL,
        Column("class", "Class voted for"),
        Column(
            "share",
            "Share of the slices with the highest evidence for this class, mean over the repeats",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column("weighted_share", "The same, with slices weighted by their attention", "0 to 1", Kind.NUMBER),
        Column(
            "share_of_others",
            "Control: mean share of the class among all other patients",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column("n_slices", "Slices in the bag that vote, once at each scale", "slices", Kind.COUNT),
    ),
    place=210,
    step=Step.EXPLANATIONS,
)


def vote_shares(
    evidence: PerInstance, attention: PerInstance | None, n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of slices that vote for each class, unweighted and weighted by attention, (patients, classes).

    A slice votes for the class with its highest evidence; the votes are averaged over the repeats, so that a slice
    whose vote differs between repeats counts fractionally.
    """
    plain = np.zeros((len(evidence.values), n_classes))
    weighted = np.zeros_like(plain)
    for row, (patient, values) in enumerate(evidence.values.items()):
        votes = np.eye(n_classes)[values.argmax(axis=2)]  # (repeats, n, classes)
        plain[row] = votes.mean(axis=(0, 1))
        if attention is not None:
            weighted[row] = np.einsum("rn,rnk->k", attention.values[patient], votes) / len(votes)
    return plain, weighted if attention is not None else plain


def vote_rows(
    evidence: PerInstance, attention: PerInstance | None, patients: Patients
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of slice_votes.csv: one per patient and class.

    The control is `share_of_others`: the mean share of the class among all other patients.
    """
    plain, weighted = vote_shares(evidence, attention, len(patients.classes))
    n = len(plain)
    others = (plain.sum(axis=0) - plain) / (n - 1) if n > 1 else np.full_like(plain, np.nan)
    for row, (patient, values) in enumerate(evidence.values.items()):
        for k, name in enumerate(patients.classes):
            yield {
                "model": evidence.model,
                "patient_id": patients.patient_ids[patient],
                "label": patients.label(patient),
                "class": name,
                "share": float(plain[row, k]),
                "weighted_share": float(weighted[row, k]),
                "share_of_others": float(others[row, k]),
                "n_slices": values.shape[1],
            }
