"""A patient as the sample of every estimator: bags by the name of their set, any of which may be missing, and covariates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aggregate.cohort.bag_sets import BagSet, Phases, phases_with_instances
from pipeline.bags import Bag
from pipeline.covariates import Value

ONLY_SET = "bags"
"""Name of a single bag set that was given no name."""


class BagsByName(Mapping[str, Bag | None]):
    """The bags of one patient by the name of their set, each read on demand; None for a missing bag."""

    def __init__(self, bag_sets: Mapping[str, BagSet], index: int) -> None:
        self._bag_sets = bag_sets
        self._index = index

    def __getitem__(self, name: str) -> Bag | None:
        bags = self._bag_sets[name]
        return bags[self._index] if bags.phases_present(self._index) else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._bag_sets)

    def __len__(self) -> int:
        return len(self._bag_sets)

    def phases_present(self, name: str) -> Phases:
        """Return the phases of one bag without reading its features; empty if the bag is missing."""
        return self._bag_sets[name].phases_present(self._index)


@dataclass(frozen=True, eq=False)
class Patient:
    """The data of one patient that a model may use: the sample of every estimator.

    Attributes:
        patient_id: as in the cohort table.
        bags: bag set -> bag, None if the patient has no bag in the set.
        covariates: column -> number, word, or None if missing; a date is given as its ordinal.
    """

    patient_id: str
    bags: Mapping[str, Bag | None]
    covariates: Mapping[str, Value] = field(default_factory=dict)

    def phases_present(self, bag_set: str) -> Phases:
        """Return the phases with instances in a bag, without reading its features; empty if the bag is missing."""
        if isinstance(self.bags, BagsByName):
            return self.bags.phases_present(bag_set)
        bag = self.bags[bag_set]
        return () if bag is None else phases_with_instances(bag)


@dataclass(frozen=True)
class Reads:
    """The bag sets and covariates that a fit of a model depends on."""

    bag_sets: frozenset[str]
    """Names of bag sets; "" stands for the only set."""
    covariates: frozenset[str]
    """Names of columns of the cohort table."""

    def __or__(self, other: "Reads") -> "Reads":
        return Reads(self.bag_sets | other.bag_sets, self.covariates | other.covariates)
