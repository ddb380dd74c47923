"""A lazy selection of samples from a sequence."""

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
