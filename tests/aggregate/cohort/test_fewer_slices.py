"""Bags of which a share of the slices of each phase is kept."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.fewer_slices import bag_with_fewer_slices
from tests.conftest import draw_bag, patients_of


@pytest.fixture
def bag(rng):
    return draw_bag("p1", 0, rng)


def n_slices(bag) -> list[int]:
    return [len(np.unique(bag.slice_index[bag.phase == phase])) for phase in np.unique(bag.phase)]


def test_each_phase_keeps_its_share_of_slices_and_at_least_one(bag):
    half = bag_with_fewer_slices(bag, 0.5, [0])
    assert n_slices(half) == [max(1, round(0.5 * n)) for n in n_slices(bag)]
    assert n_slices(bag_with_fewer_slices(bag, 0.01, [0])) == [1] * len(n_slices(bag))


def test_a_share_of_1_is_the_bag_itself(bag):
    whole = bag_with_fewer_slices(bag, 1.0, [0])
    assert (whole.features == bag.features).all()


def test_a_smaller_share_keeps_some_of_what_a_larger_one_keeps(bag):
    def kept(share):
        few = bag_with_fewer_slices(bag, share, [3])
        return set(zip(few.phase.tolist(), few.slice_index.tolist(), strict=True))

    assert kept(0.2) <= kept(0.5) <= kept(0.8)


def test_a_slice_stays_with_all_its_instances(bag):
    """Of two scales of one slice none is kept without the other."""
    twice = bag.take(np.repeat(np.arange(len(bag)), 2))
    twice = replace(twice, scale=np.tile([0, 1], len(bag)).astype(np.int8))
    few = bag_with_fewer_slices(twice, 0.5, [0])
    assert np.bincount(few.scale).tolist() == [len(few) // 2] * 2


def test_another_seed_keeps_other_slices_of_the_same_patients(bags_and_labels):
    patients = patients_of(*bags_and_labels)

    def kept(seed):
        few = patients.with_fewer_slices(0.5, seed=[seed])
        return np.concatenate([few.bags()[i].slice_index for i in range(10)]).tolist()

    assert kept(0) == kept(0) != kept(1)
    few = patients.with_fewer_slices(0.1, seed=[0])
    assert [few.bags().phases_present(i) for i in range(10)] == [
        patients.bags().phases_present(i) for i in range(10)
    ]
    assert few.bag_sizes().tolist() == [len(few.bags()[i]) for i in range(60)]
