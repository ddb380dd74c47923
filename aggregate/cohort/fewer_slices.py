"""Bags of which a random share of the slices of each phase is kept.

A module of its own, because no model imports it: a change here changes no key of the cache of fits.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from aggregate.cohort.bag_sets import BagSet, Phases
from aggregate.cohort.scales import n_slices
from pipeline.bags import HISTOLOGY, Bag


class BagsWithFewerSlices:
    """The bags of another set with a random share of the slices of each phase."""

    def __init__(self, bags: BagSet, share: float, seed: Sequence[int]) -> None:
        self.bags = bags
        self.share = share
        self.seed = seed

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, index: int) -> Bag:
        """Return one bag with the slices that are kept; one of histology has no slices and stays whole."""
        bag = self.bags[index]
        return bag if bag.header.modality == HISTOLOGY else bag_with_fewer_slices(bag, self.share, self.seed)

    def phases_present(self, index: int) -> Phases:
        """Return the phases, none of which is lost."""
        return self.bags.phases_present(index)

    def size(self, index: int) -> int:
        """Return the number of remaining slices."""
        return n_slices(self[index])


def bag_with_fewer_slices(bag: Bag, share: float, seed: Sequence[int]) -> Bag:
    """Return the bag with a random share of the slices of each phase, at least one, with all instances of each.

    The choice hangs on seed, patient and phase only, and a smaller share keeps some of the slices that a larger one keeps.
    """
    is_kept = np.zeros(len(bag), dtype=np.bool_)
    for phase in np.unique(bag.phase).tolist():
        is_of_phase = bag.phase == phase
        slices = np.unique(bag.slice_index[is_of_phase])
        rng = np.random.default_rng([*seed, zlib.crc32(bag.header.patient_id.encode()), phase])
        kept = rng.permutation(slices)[: max(1, round(share * len(slices)))]
        is_kept |= is_of_phase & np.isin(bag.slice_index, kept)
    return bag.take(is_kept)
