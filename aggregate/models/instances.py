"""The instances of all bags concatenated in one matrix, and the mini-batches that a network reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.bags import Bag

_FEATURE_BYTES_IN_MEMORY = 2**30
"""One gigabyte: ten times 120 patients of 100 slices and 2,048 features. Concatenation needs this twice for a moment,
which fits on a laptop of 8 GB; larger matrices go into a temporary file, which the operating system caches as memory
allows."""

_TO_BE_FILLED = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Instances:
    """A mini-batch: the instances of a few bags as rows, the input of a network.

    The rows of a bag are consecutive, in any order. The output for a bag must not depend on the order of its rows, nor
    on the other bags of the batch.

    Attributes:
        features: (rows, d), standardised by the training instances; float32 or bfloat16.
        bag: int64 (rows,), index of the row's bag, from 0, ascending.
        phase: int64 (rows,), index of the row's phase among the phases of the experiment.
        below: int64 (rows,), row of the next slice below in the same phase and scale; the row itself if there is none.
        above: int64 (rows,), the same for the next slice above.
        n_bags: number of bags; each has at least one row.
        n_phases: number of phases of the experiment.
        covariates: float32 (bags, k), standardised covariates of the patients; None where the model reads none.
        scale: int64 (rows,), index of the row's scale among the scales of the bags; 0 if left out.
        n_scales: number of scales of the bags.
    """

    features: Tensor
    bag: Tensor
    phase: Tensor
    below: Tensor
    above: Tensor
    n_bags: int
    n_phases: int
    covariates: Tensor | None = None
    scale: Tensor = _TO_BE_FILLED
    n_scales: int = 1

    def __post_init__(self) -> None:
        # Code that knows no scales makes batches too; a frozen class is filled in this way only.
        if self.scale is _TO_BE_FILLED:
            object.__setattr__(self, "scale", torch.zeros_like(self.bag))

    @cached_property
    def sizes(self) -> Tensor:
        """Number of rows of each bag, int64 (bags,)."""
        return torch.bincount(self.bag, minlength=self.n_bags)

    @cached_property
    def is_real(self) -> Tensor:
        """Which entries of `padded` are rows, the others padding: bool (bags, most rows of a bag)."""
        places = torch.arange(int(self.sizes.max()), device=self.bag.device)
        return places < self.sizes.unsqueeze(1)

    def padded(self, values: Tensor, *, filling: float = 0.0) -> Tensor:
        """Pad the bags to one length: values (rows, width) as (bags, most rows of a bag, width)."""
        shape = (*self.is_real.shape, *values.shape[1:])
        return values.new_full(shape, filling).masked_scatter(self._real_entries(values), values)

    def unpadded(self, values: Tensor) -> Tensor:
        """Remove the padding of `padded`: values (bags, most rows of a bag, width) as (rows, width)."""
        return values[self.is_real]

    def _real_entries(self, values: Tensor) -> Tensor:
        return self.is_real.reshape(*self.is_real.shape, *[1] * (values.ndim - 1))


@dataclass(frozen=True, eq=False)
class PackedBags:
    """The instances of many bags in one matrix.

    Attributes:
        features: float32 or bfloat16 (instances, d).
        phase: int64 (instances,), index into the phase names.
        to_below: int64 (instances,), row offset of the next slice below in the same phase and scale, 0 if none.
        to_above: int64 (instances,), the same for the next slice above.
        start: intp (bags + 1,): bag i is the rows start[i] to start[i + 1] - 1.
        n_phases: number of phase names.
        scale: int64 (instances,), index into the scale names.
        n_scales: number of scale names.
        covariates: float32 (bags, k), standardised covariates of the patients; None where the model reads none.
    """

    features: Tensor
    phase: Tensor
    to_below: Tensor
    to_above: Tensor
    start: NDArray[np.intp]
    n_phases: int
    scale: Tensor
    n_scales: int
    covariates: Tensor | None = None

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def n_features(self) -> int:
        """Length d of a feature vector."""
        return self.features.shape[1]

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """Number of instances of each bag (bags,)."""
        return np.diff(self.start)

    def take(self, bags: NDArray[np.intp], *, rows_multiple: int = 1) -> Instances:
        """Gather the instances of some bags, in the order of `bags`.

        Args:
            bags: intp (chosen,).
            rows_multiple: if above 1, the number of rows is padded to a multiple of this by one more bag at the end,
                made of copies of the first row.
        """
        sizes = self.sizes[bags]
        n_rows = int(sizes.sum())
        # The rows of a bag are consecutive: its rows in the matrix are its rows in the batch plus one offset per bag.
        rows = np.arange(n_rows) + np.repeat(self.start[bags] - (sizes.cumsum() - sizes), sizes)
        bag = np.repeat(np.arange(len(bags)), sizes)
        n_filling = rows_multiple - n_rows % rows_multiple if rows_multiple > 1 else 0
        if n_filling:
            rows = np.concatenate([rows, np.full(n_filling, rows[0])])
            bag = np.concatenate([bag, np.full(n_filling, len(bags))])
        chosen, bag_of_row = (torch.from_numpy(a).to(self.features.device) for a in (rows, bag))
        here = torch.arange(len(rows), device=self.features.device)
        is_filling = here >= n_rows
        return Instances(
            features=self.features.index_select(0, chosen),
            bag=bag_of_row,
            phase=self.phase[chosen],
            below=here + self.to_below[chosen].masked_fill(is_filling, 0),
            above=here + self.to_above[chosen].masked_fill(is_filling, 0),
            n_bags=len(bags) + (n_filling > 0),
            n_phases=self.n_phases,
            covariates=self._covariates_of(bags, is_filled=n_filling > 0),
            scale=self.scale[chosen],
            n_scales=self.n_scales,
        )

    def _covariates_of(self, bags: NDArray[np.intp], *, is_filled: bool) -> Tensor | None:
        """Return the covariates of some bags, and of the bag that fills up zeros."""
        if self.covariates is None:
            return None
        chosen = self.covariates[torch.from_numpy(bags).to(self.covariates.device)]
        return functional.pad(chosen, (0, 0, 0, 1)) if is_filled else chosen


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each feature over the training instances.

    Attributes:
        mean: float32 (d,).
        std: float32 (d,), 1 for a constant feature.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Scaling":
        """Measure features (instances, d), each over the instances of which it is known."""
        if not features.shape[1]:
            return cls(features.new_zeros(0), features.new_ones(0))
        std, mean = torch.std_mean(features, dim=0, correction=0)
        partly = mean.isnan()  # measures that some instances lack
        if partly.any():
            known = features[:, partly]
            mean[partly] = known.nanmean(dim=0).nan_to_num()
            std[partly] = (known - mean[partly]).square().nanmean(dim=0).sqrt().nan_to_num()
        # A constant feature has only the rounding error of its mean left.
        return cls(mean, torch.where(std <= 1e-5 * mean.abs(), 1.0, std))

    def apply_(self, features: Tensor) -> None:
        """Standardise features (instances, d) in place; a missing measure (NaN) becomes the mean, 0."""
        features.sub_(self.mean).div_(self.std).nan_to_num_(nan=0.0)


def pack(bags: Iterable[Bag]) -> PackedBags:
    """Concatenate bags, reading each once; features above a limit of bytes go into a temporary file."""
    features = _Rows()
    phases, scales, steps, sizes, n_phases, n_scales = [], [], [], [0], 0, 0
    for bag in bags:
        features.append(bag.features)
        phases.append(bag.phase)
        scales.append(bag.scale)
        steps.append(_steps_to_neighbours(bag))
        sizes.append(len(bag))
        n_phases, n_scales = len(bag.header.phase_names), len(bag.header.scale_names)
    below, above = torch.from_numpy(np.concatenate(steps, axis=1))
    return PackedBags(
        features=features.together(),
        phase=torch.from_numpy(np.concatenate(phases).astype(np.int64)),
        to_below=below,
        to_above=above,
        start=np.cumsum(sizes).astype(np.intp),
        n_phases=n_phases,
        scale=torch.from_numpy(np.concatenate(scales).astype(np.int64)),
        n_scales=n_scales,
    )


class _Rows:
    """Rows collected in memory and, above the limit, in a temporary file."""

    def __init__(self) -> None:
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
            return torch.from_numpy(np.concatenate(self._pieces))
        self._file.flush()
        # The file is already unlinked: its space is freed with the last tensor that is mapped from it.
        mapped = np.memmap(self._file, dtype=np.float32, mode="r+")
        self._file.close()
        return torch.from_numpy(mapped).view(-1, self._width)

    def _to_file(self) -> None:
        # Closed by `together`; the mapping stays valid.
        self._file = self._file or TemporaryFile()  # noqa: SIM115
        for piece in self._pieces:
            self._file.write(np.ascontiguousarray(piece, dtype=np.float32).data)
        self._pieces.clear()


def _steps_to_neighbours(bag: Bag) -> NDArray[np.int64]:
    """Return the row offsets from each instance to its neighbours below and above (2, n), 0 if there is none."""
    order = np.lexsort((bag.lesion, bag.slice_index, bag.scale, bag.phase))
    is_same = (np.diff(bag.phase[order]) == 0) & (np.diff(bag.scale[order]) == 0)
    lower, upper = order[:-1][is_same], order[1:][is_same]
    steps = np.zeros((2, len(bag)), dtype=np.int64)
    steps[0, upper], steps[1, lower] = lower - upper, upper - lower
    return steps
