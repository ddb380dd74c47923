"""Some of the samples of a sequence, or those of two, without holding any of them."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Sample = TypeVar("Sample")
Given_co = TypeVar("Given_co", covariant=True)


class Numbered(Protocol[Given_co]):
    """Samples that are looked up by number."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int) -> Given_co:
        """Return one sample."""
        ...


class Chosen(Sequence[Sample]):
    """The samples at the given indices, each fetched on demand."""

    def __init__(self, samples: Numbered[Sample], numbers: NDArray[np.intp]) -> None:
        self.samples = samples
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Chosen[Sample]": ...
    def __getitem__(self, index: int | slice) -> "Sample | Chosen[Sample]":
        """Return one sample, or a selection of the selected samples."""
        if isinstance(index, slice):
            return Chosen(self.samples, self.numbers[index])
        return self.samples[int(self.numbers[index])]


class Joined(Sequence[Sample]):
    """The samples of one sequence, then those of another, each fetched when it is asked for."""

    def __init__(self, first: Numbered[Sample], second: Numbered[Sample]) -> None:
        self.first = first
        self.second = second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Chosen[Sample]: ...
    def __getitem__(self, index: int | slice) -> "Sample | Chosen[Sample]":
        """Return one sample, or a choice of them."""
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return Chosen(self, np.array(numbers, dtype=np.intp))
        return self.first[numbers] if numbers < len(self.first) else self.second[numbers - len(self.first)]
