"""Bags as a configuration sees them: with its phases, in its order, and no other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.bags import Bag, BagHeader
from pipeline.errors import BagError


def check_phases_known(phases: Sequence[str], header: BagHeader) -> None:
    """Refuse a phase of the configuration that the bags do not know, such as one that was renamed since.

    Raises:
        BagError: both lists are named.
    """
    unknown = [name for name in phases if name not in header.phase_names]
    if unknown:
        raise BagError(
            f"phase {unknown[0]} of the configuration is in no bag: [cohort] phases are {', '.join(phases)}, those of "
            f"the bags {', '.join(header.phase_names)}; name them alike, or extract again with this configuration"
        )


def header_in_phases(header: BagHeader, phases: tuple[str, ...]) -> BagHeader:
    """Return what a bag says of some phases, in their order."""
    if header.phase_names == phases:
        return header
    return replace(
        header,
        phase_names=phases,
        sources={name: header.sources[name] for name in phases if name in header.sources},
        phases_missing={
            name: header.phases_missing[name] for name in phases if name in header.phases_missing
        },
        reference_hu={name: header.reference_hu[name] for name in phases if name in header.reference_hu},
    )


def bag_in_phases(bag: Bag, phases: tuple[str, ...]) -> Bag:
    """Return the bag of the instances of some phases, in their order; it may be empty."""
    if bag.header.phase_names == phases:
        return bag
    number = np.array([phases.index(p) if p in phases else -1 for p in bag.header.phase_names], dtype=np.int8)
    seen = replace(bag, header=header_in_phases(bag.header, phases), phase=number[bag.phase])
    order = np.lexsort((seen.slice_index, seen.scale, seen.phase))
    return seen.take(order[seen.phase[order] >= 0])
