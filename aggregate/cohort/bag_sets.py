"""Bag sets: bags made with one recipe, at most one per patient, read from a folder on demand."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.scales import n_slices
from pipeline.bags import Bag, BagHeader, bag_path, read_bag
from pipeline.errors import BagError

_FEATURE_BYTES_KEPT = 2**27
"""An eighth of a gigabyte in each worker process: 120 patients of 100 slices and 2,048 features. Where psutil is
installed, joblib restarts a worker that has grown by 0.3 GB, as a memory leak; the new one reads all bags again."""

Phases = tuple[str, ...]
Value = TypeVar("Value")


class BagSet(Protocol):
    """Bags made with one recipe, in the order of a table of patients."""

    def __len__(self) -> int:
        """Return the number of patients, with or without a bag."""
        ...

    def __getitem__(self, index: int) -> Bag:
        """Return the bag of a patient; the patient must have one."""
        ...

    def phases_present(self, index: int) -> Phases:
        """Return the phases of a patient's bag without reading its features; empty if there is no bag."""
        ...

    def size(self, index: int) -> int:
        """Return the number of slices of a patient's bag, each once at however many scales."""
        ...


class BagFolder:
    """The bags of some patients in a folder, read on demand and cached in memory up to a limit.

    A cached bag is never evicted: models go through all bags in the same order again and again, so that with
    least-recently-used eviction every bag would be gone before its next use.

    Args:
        folder: holds `<patient_id>.h5`.
        present: (patient_id, phases of the bag) of every patient; no phases if the patient has no bag.
        phases: the phases to use, in this order; None uses all phases of a bag.
        bytes_kept: most bytes of features held in memory.
    """

    def __init__(
        self,
        folder: Path,
        present: Iterable[tuple[str, Phases]],
        *,
        phases: Phases | None = None,
        bytes_kept: int = _FEATURE_BYTES_KEPT,
    ) -> None:
        self.folder = folder
        self.present = tuple(present)
        self.phases = phases
        self.bytes_kept = bytes_kept
        self._room = bytes_kept
        self._bags: dict[int, Bag] = {}
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index: int) -> Bag:
        """Return one bag.

        Raises:
            BagError: the patient has none, or it cannot be read.
            IndexError: there is no such patient.
        """
        index = range(len(self))[index]
        return self._bags[index] if index in self._bags else self._read(index)

    def phases_present(self, index: int) -> Phases:
        """Return the phases of a patient's bag without reading its features; empty if there is no bag."""
        return self.present[index][1]

    def size(self, index: int) -> int:
        """Return the number of slices of a bag, read from the file the first time only."""
        return self._sizes[index] if index in self._sizes else n_slices(self[index])

    def load(self, patient_id: str) -> Bag:
        """Read one bag, in all its phases.

        Raises:
            BagError: it cannot be read.
        """
        return read_bag(bag_path(self.folder, patient_id))

    def _read(self, index: int) -> Bag:
        patient_id, phases_present = self.present[index]
        if not phases_present:
            raise BagError(f"{self.folder}: patient {patient_id} has no bag here")
        bag = self.load(patient_id)
        if self.phases is not None:
            bag = bag_in_phases(bag, self.phases)
        self._sizes[index] = n_slices(bag)
        if bag.features.nbytes <= self._room:
            self._bags[index] = bag
            self._room -= bag.features.nbytes
        return bag

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the paths only; a worker process reads the bags itself."""
        return _open_folder, (self.folder, self.present, self.phases, self.bytes_kept)


@lru_cache(maxsize=4)
def _open_folder(
    folder: Path, present: tuple[tuple[str, Phases], ...], phases: Phases | None, bytes_kept: int
) -> BagFolder:
    return BagFolder(folder, present, phases=phases, bytes_kept=bytes_kept)


class BagList:
    """Bags in memory; None where a patient has none."""

    def __init__(self, bags: Sequence[Bag | None]) -> None:
        self.bags = bags

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, index: int) -> Bag:
        """Return one bag.

        Raises:
            BagError: the patient has none.
        """
        bag = self.bags[index]
        if bag is None:
            raise BagError(f"patient number {index} has no bag in this set")
        return bag

    def phases_present(self, index: int) -> Phases:
        """Return the phases that have instances; empty if there is no bag."""
        bag = self.bags[index]
        return () if bag is None else phases_with_instances(bag)

    def size(self, index: int) -> int:
        """Return the number of slices of a bag."""
        return n_slices(self[index])


class BagsInPhases:
    """The bags of another set without the instances of some phases; the phase names stay unchanged."""

    def __init__(self, bags: BagSet, phases: frozenset[str]) -> None:
        self.bags = bags
        self.phases = phases

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, index: int) -> Bag:
        """Return one bag with the instances of the phases."""
        bag = self.bags[index]
        return bag.in_phases(name for name in bag.header.phase_names if name in self.phases)

    def phases_present(self, index: int) -> Phases:
        """Return the remaining phases."""
        return tuple(name for name in self.bags.phases_present(index) if name in self.phases)

    def size(self, index: int) -> int:
        """Return the number of remaining slices."""
        return n_slices(self[index])


def phases_with_instances(bag: Bag) -> Phases:
    """Return the phases of a bag that have instances, in the order of its phase names."""
    return tuple(bag.header.phase_names[i] for i in np.unique(bag.phase))


def header_in_phases(header: BagHeader, phases: Phases) -> BagHeader:
    """Return the header of a bag restricted to some phases, in their order."""
    if header.phase_names == phases:
        return header

    def of_phases(by_phase: Mapping[str, Value]) -> dict[str, Value]:
        return {name: by_phase[name] for name in phases if name in by_phase}

    return replace(
        header,
        phase_names=phases,
        sources=of_phases(header.sources),
        phases_missing=of_phases(header.phases_missing),
        reference_hu=of_phases(header.reference_hu),
    )


def bag_in_phases(bag: Bag, phases: Phases) -> Bag:
    """Return the bag of the instances of some phases, in their order; it may be empty."""
    if bag.header.phase_names == phases:
        return bag
    number = np.array([phases.index(p) if p in phases else -1 for p in bag.header.phase_names], dtype=np.int8)
    seen = replace(
        bag,
        header=header_in_phases(bag.header, phases),
        phase=number[bag.phase],
        **_radiomics_in(bag, number),
    )
    order = np.lexsort((seen.slice_index, seen.scale, seen.phase))
    return seen.take(order[seen.phase[order] >= 0])


def _radiomics_in(bag: Bag, number: NDArray[np.int8]) -> Mapping[str, NDArray[Any]]:
    """Return the radiomics under the new numbers of their phases, in their order; -1 is a phase left out."""
    renumbered = number[bag.radiomics_phase]
    order = np.argsort(renumbered, kind="stable")
    order = order[renumbered[order] >= 0]
    return {"radiomics": bag.radiomics[order], "radiomics_phase": renumbered[order]}
