"""Bags laid end to end, and the batches that a stack of fits draws from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aggregate.models.groups import Groups
from aggregate.models.products import affine, uses_onednn
from pipeline.bags import Bag

_ROWS_MULTIPLE, _FEW_ROWS_MULTIPLE = 128, 32
"""Batches of more than four times the first, and shorter ones, are filled up to a multiple of these: oneDNN compiles
a product anew for every number of rows, and keeps 1.2 MiB of code for each."""

_FEATURE_BYTES_IN_MEMORY = 2**30
"""One gigabyte: 120 patients of 100 slices and 2,048 features ten times over. A laptop of 8 GB has it twice, which
laying bags together takes for a moment; what is more goes into a temporary file, of which the system keeps in
memory what there is room for."""


@dataclass(frozen=True, eq=False)
class PackedBags:
    """All instances of many bags in one array.

    Attributes:
        features: float32 or bfloat16 (instances, d).
        phase: int64 (instances,), index into the phase names.
        to_below: int64 (instances,), steps to the row of the next slice below in the same phase and scale, 0 for none.
        to_above: int64 (instances,), the same upwards.
        start: intp (bags + 1,): bag i is the rows start[i] to start[i + 1].
        n_phases: number of phase names.
    """

    features: Tensor
    phase: Tensor
    to_below: Tensor
    to_above: Tensor
    start: NDArray[np.intp]
    n_phases: int

    @property
    def n_features(self) -> int:
        """Length d of a feature vector."""
        return self.features.shape[1]

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """Instances of each bag (bags,)."""
        return np.diff(self.start)

    @cached_property
    def sums(self) -> tuple[Tensor, Tensor]:
        """Sums of the features and of their squares over each bag, float64 (bags, d)."""
        shape = len(self.start) - 1, self.n_features
        sums, squares = (self.features.new_empty(shape, dtype=torch.float64) for _ in range(2))
        for bag, (begin, end) in enumerate(pairwise(self.start)):
            exact = self.features[begin:end].double()  # one bag at a time: all may not fit into memory
            sums[bag], squares[bag] = exact.sum(dim=0), exact.square().sum(dim=0)
        return sums, squares


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each feature over the training instances of each fit.

    Attributes:
        mean: float32 (fits, d).
        std: float32 (fits, d), 1 for a constant feature.
    """

    mean: Tensor
    std: Tensor

    def take(self, fits: Tensor) -> "Scaling":
        """Return the scaling of the chosen fits."""
        return Scaling(self.mean[fits], self.std[fits])


@dataclass(frozen=True, eq=False)
class Batch:
    """The instances of a few bags for each fit of a stack, packed without regard to bag borders.

    Attributes:
        features: (fits, slices, d), not standardised.
        bags: the bag of each slice; rows past the last real one belong to none.
        rows: int64 (fits, slices), where each slice lies in `source`.
        source: the bags that the batch was drawn from.
        scaling: of each fit.
        dropout: share of an embedding that `drop` sets to zero.
        generators: one per fit while training, none otherwise.
    """

    features: Tensor
    bags: Groups
    rows: Tensor
    source: PackedBags
    scaling: Scaling
    dropout: float = 0.0
    generators: Sequence[np.random.Generator] = ()

    @cached_property
    def in_bag(self) -> Tensor:
        """True where the slice is real and belongs to the bag, bool (fits, bags, slices)."""
        numbers = torch.arange(self.bags.number, device=self.rows.device)
        return self.bags.index.unsqueeze(1) == numbers.unsqueeze(1)

    @cached_property
    def phase(self) -> Tensor:
        """Index of each slice's phase, int64 (fits, slices)."""
        return self.source.phase[self.rows]

    @cached_property
    def to_below(self) -> Tensor:
        """Steps to the next slice below in the same phase and scale, 0 for none, int64 (fits, slices)."""
        return self._within_bags(self.source.to_below)

    @cached_property
    def to_above(self) -> Tensor:
        """Steps to the next slice above in the same phase and scale, 0 for none, int64 (fits, slices)."""
        return self._within_bags(self.source.to_above)

    def _within_bags(self, steps: Tensor) -> Tensor:
        """Return the steps of each slice (fits, slices), 0 for the rows that belong to no bag."""
        return steps[self.rows] * self.in_bag.any(dim=1)

    def project(self, weight: Tensor, bias: Tensor, *, is_rectified: bool = False) -> Tensor:
        """Return the standardised features times weight (fits, d, out) plus bias (fits, out), rectified or not.

        ((x - mean) / std) W + b = x (W / std) + (b - (mean / std) W): the features stay as they are, shared
        by all fits, and each fit's scaling goes into its weights.
        """
        scaled = weight / self.scaling.std.unsqueeze(2)  # (fits, d, out)
        shifted = bias.unsqueeze(1) - self.scaling.mean.unsqueeze(1) @ scaled  # (fits, 1, out)
        return affine(self.features, scaled, shifted, is_rectified=is_rectified)  # (fits, slices, out)

    def drop(self, embeddings: Tensor) -> Tensor:
        """Set random entries of bag embeddings (fits, bags, width) to zero while training, scaling the rest."""
        if not self.generators or not self.dropout:
            return embeddings
        keep = np.zeros(embeddings.shape, dtype=np.float32)
        real = self.in_bag.any(dim=2).sum(dim=1).tolist()  # bags of each fit
        for fit, generator in enumerate(self.generators):
            keep[fit, : real[fit]] = generator.random((real[fit], keep.shape[2])) >= self.dropout
        return embeddings * torch.from_numpy(keep).to(embeddings) / (1 - self.dropout)


def masked_softmax(scores: Tensor, is_real: Tensor) -> Tensor:
    """Return the softmax over the last axis of the real entries; all zero where none is real."""
    # A finite filler: with -inf a row without a real entry, such as a missing phase, would be NaN.
    filled = scores.masked_fill(~is_real, torch.finfo(scores.dtype).min)
    return filled.softmax(dim=-1) * is_real


def pack(bags: Iterable[Bag], *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PackedBags:
    """Lay bags end to end, reading each of them once; features beyond a budget of bytes lie on disk."""
    features = _Rows(dtype)
    phases, steps, sizes, n_phases = [], [], [0], 0
    for bag in bags:
        features.append(bag.features)
        phases.append(bag.phase)
        steps.append(_steps_to_neighbours(bag))
        sizes.append(len(bag))
        n_phases = len(bag.header.phase_names)
    below, above = torch.from_numpy(np.concatenate(steps, axis=1)).to(device)
    return PackedBags(
        features=features.together().to(device),
        phase=torch.from_numpy(np.concatenate(phases).astype(np.int64)).to(device),
        to_below=below,
        to_above=above,
        start=np.cumsum(sizes).astype(np.intp),
        n_phases=n_phases,
    )


class _Rows:
    """Rows that grow in memory and, once they are more than the budget, in a temporary file."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._pieces: list[NDArray[np.float32]] = []
        self._bytes = 0
        self._width = 0
        self._file: IO[bytes] | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows (n, d)."""
        self._width = rows.shape[1]
        self._pieces.append(rows)
        self._bytes += rows.nbytes
        if self._bytes > _FEATURE_BYTES_IN_MEMORY:
            self._to_file()

    def together(self) -> Tensor:
        """Return all rows (rows, d), in memory or mapped from the file."""
        if self._file is None:
            return torch.from_numpy(np.concatenate(self._pieces)).to(self._dtype)
        self._file.flush()
        # The file has lost its name already: its space is given back with the last tensor that is mapped from it.
        mapped = np.memmap(self._file, dtype=np.uint8, mode="r+")
        self._file.close()
        return torch.from_numpy(mapped).view(self._dtype).view(-1, self._width)

    def _to_file(self) -> None:
        # Closed by `together`: the mapping outlives it.
        self._file = self._file or TemporaryFile()  # noqa: SIM115
        for piece in self._pieces:
            self._file.write(torch.tensor(piece, dtype=self._dtype).view(torch.uint8).numpy().data)
        self._pieces.clear()


def _steps_to_neighbours(bag: Bag) -> NDArray[np.int64]:
    """Return the steps from each instance to its neighbour below and above (2, n), 0 where it has none."""
    order = np.lexsort((bag.lesion, bag.slice_index, bag.scale, bag.phase))
    is_same = (np.diff(bag.phase[order]) == 0) & (np.diff(bag.scale[order]) == 0)
    lower, upper = order[:-1][is_same], order[1:][is_same]
    steps = np.zeros((2, len(bag)), dtype=np.int64)
    steps[0, upper], steps[1, lower] = lower - upper, upper - lower
    return steps


def scaling_of(packed: PackedBags, train: Sequence[NDArray[np.intp]]) -> Scaling:
    """Return the mean and standard deviation over the instances of each fit's training bags, and no others."""
    sums, squares = packed.sums
    means, stds = [], []
    for bags in train:
        n = packed.sizes[bags].sum()
        mean = sums[bags].sum(dim=0) / n  # (d,)
        variance = (squares[bags].sum(dim=0) / n - mean**2).clamp(min=0)
        # What is left of a constant feature is the rounding of the sums.
        is_constant = variance <= 1e-10 * mean**2
        means.append(mean)
        stds.append(torch.where(is_constant, 1.0, variance.sqrt()))
    return Scaling(torch.stack(means).float(), torch.stack(stds).float())


def draw_batch(packed: PackedBags, bags: Sequence[NDArray[np.intp]], scaling: Scaling) -> Batch:
    """Gather the instances of the bags that each fit has chosen."""
    device = packed.features.device
    rows, bag_of_row = (torch.from_numpy(a).to(device) for a in _rows_and_bags(packed, bags))
    features = packed.features.index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return Batch(
        features=features,  # (fits, slices, d)
        bags=Groups(bag_of_row, max(map(len, bags))),
        rows=rows,
        source=packed,
        scaling=scaling,
    )


def _rows_and_bags(
    packed: PackedBags, bags: Sequence[NDArray[np.intp]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the packed row of each slice and the place of its bag, past the last for none, each (fits, slices)."""
    n_slices = max(int(packed.sizes[chosen].sum()) for chosen in bags)
    if uses_onednn(packed.features):
        is_long = n_slices > 4 * _ROWS_MULTIPLE or packed.features.dtype == torch.bfloat16
        multiple = _ROWS_MULTIPLE if is_long else _FEW_ROWS_MULTIPLE
        n_slices = -(-n_slices // multiple) * multiple
    rows = np.zeros((len(bags), n_slices), dtype=np.int64)
    bag_of_row = np.full((len(bags), n_slices), max(map(len, bags)))
    for fit, chosen in enumerate(bags):
        sizes = packed.sizes[chosen]
        end = int(sizes.sum())
        # The k-th bag's rows are consecutive: each row is its place in the batch plus a step of its bag.
        steps = packed.start[chosen] - (sizes.cumsum() - sizes)
        rows[fit, :end] = np.arange(end) + np.repeat(steps, sizes)
        bag_of_row[fit, :end] = np.repeat(np.arange(len(chosen)), sizes)
    return rows, bag_of_row
