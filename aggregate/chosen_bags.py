"""Some of the bags of a cohort, or those of two sets, without holding any of them."""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import Bag


class ChosenBags(Sequence[Bag]):
    """The bags of the given numbers, each fetched when it is asked for."""

    def __init__(self, bags: Sequence[Bag], numbers: NDArray[np.intp]) -> None:
        self.bags = bags
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Bag: ...
    @overload
    def __getitem__(self, index: slice) -> "ChosenBags": ...
    def __getitem__(self, index: int | slice) -> "Bag | ChosenBags":
        """Return one bag, or a choice of the chosen."""
        if isinstance(index, slice):
            return ChosenBags(self.bags, self.numbers[index])
        return self.bags[int(self.numbers[index])]


class JoinedBags(Sequence[Bag]):
    """The bags of one set, then those of another, each fetched when it is asked for."""

    def __init__(self, first: Sequence[Bag], second: Sequence[Bag]) -> None:
        self.first = first
        self.second = second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @overload
    def __getitem__(self, index: int) -> Bag: ...
    @overload
    def __getitem__(self, index: slice) -> ChosenBags: ...
    def __getitem__(self, index: int | slice) -> Bag | ChosenBags:
        """Return one bag, or a choice of them."""
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return ChosenBags(self, np.array(numbers, dtype=np.intp))
        return self.first[numbers] if numbers < len(self.first) else self.second[numbers - len(self.first)]
