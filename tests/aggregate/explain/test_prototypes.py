"""Neighbours, typical slices and clusters."""

import numpy as np

from aggregate.explain.inputs import evidence_of
from aggregate.explain.prototypes import (
    NEIGHBOURS,
    cluster_patient_rows,
    cluster_rows,
    cluster_slice_rows,
    cluster_slices,
    neighbour_checks,
    prototype_rows,
    typical_rows,
)
from tests.conftest import at_two_scales


def test_every_patient_has_neighbours_from_its_own_training_patients_only(inputs):
    rows = list(prototype_rows(inputs, "attention"))
    assert len(rows) == NEIGHBOURS * len(inputs.bags("attention"))
    index = {bag.patient_id: i for i, bag in enumerate(inputs.bags("attention"))}
    training = {int(i): set(fold.train) for fold, _ in inputs.models["attention"][:3] for i in fold.test}
    assert all(index[row["neighbour_id"]] in training[index[row["patient_id"]]] for row in rows)


def test_neighbours_share_the_class_more_often_than_by_chance(inputs, resampling):
    rows = list(neighbour_checks(list(prototype_rows(inputs, "attention")), inputs.patients, resampling))
    agreement, chance = (row["estimate"] for row in rows)
    assert agreement > chance + 0.1
    assert chance == 19 / 59


def test_the_most_typical_slices_of_a_class_come_from_different_patients_of_it(inputs):
    rows = list(typical_rows(evidence_of(inputs, "attention"), inputs.patients, inputs.bags("attention")))
    of_class = [row for row in rows if row["class"] == "iCCA"]
    assert len({row["patient_id"] for row in of_class}) == len(of_class) == 10
    assert [row["evidence"] for row in of_class] == sorted((r["evidence"] for r in of_class), reverse=True)
    assert np.mean([row["label"] == "iCCA" for row in of_class]) > 0.6


def test_clusters_are_numbered_by_size_and_know_their_mixture(inputs):
    clusters = cluster_slices(inputs.bags("attention"), 2, seed=0)
    flat = np.concatenate(clusters.of_slices)
    assert np.sum(flat == 0) >= np.sum(flat == 1) > 0
    rows = list(cluster_rows(inputs.patients, clusters.of_slices, 2))
    assert sum(row["n_slices"] for row in rows) == len(flat)
    assert sum(row["share_of_cluster"] for row in rows if row["cluster"] == 1) == 1
    per_patient = list(cluster_patient_rows(inputs.patients, clusters.of_slices, 2))
    assert sum(row["share"] for row in per_patient) == len(inputs.bags("attention"))


def test_clustering_is_the_same_every_time(inputs):
    first, second = (cluster_slices(inputs.bags("attention"), 3, seed=4) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.of_slices, second.of_slices, strict=True))


def test_the_middle_of_a_cluster_is_shown_by_one_slice_per_patient_the_nearest_first(inputs):
    bags = inputs.bags("attention")
    clusters = cluster_slices(bags, 2, seed=0)
    rows = [row for row in cluster_slice_rows(inputs.patients, bags, clusters, 2) if row["cluster"] == 2]
    assert [row["rank"] for row in rows] == list(range(1, 11))
    assert len({row["patient_id"] for row in rows}) == 10
    distances = [row["distance"] for row in rows]
    assert distances == sorted(distances)
    of_cluster = [
        d[c == 1].min() for c, d in zip(clusters.of_slices, clusters.distances, strict=True) if (c == 1).any()
    ]
    assert distances[0] == min(of_cluster)


def test_clusters_are_no_scales(inputs):
    """Two scales that lie apart: slices of both are in every cluster."""
    bags = [at_two_scales(bag) for bag in inputs.bags("attention")]
    for bag in bags:
        bag.features[bag.scale == 1] += 50
    clusters = np.concatenate(cluster_slices(bags, 2, seed=0).of_slices)
    scale = np.concatenate([bag.scale for bag in bags])
    for cluster in (0, 1):
        assert 0.2 < np.mean(scale[clusters == cluster]) < 0.8
