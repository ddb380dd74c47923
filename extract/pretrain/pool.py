"""The pool: procedural images on disk, one block per formula and round, redrawn without end."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.pretrain.canvas import Canvas
from extract.pretrain.formulas import Formula
from pipeline.provenance import sha256_of_json

BLOCK = 16
"""Images drawn together: one formula, one call."""
_RANGE = 3.2
"""Standard deviations that the 256 grey levels span on either side of the mean."""


class Pool:
    """A memory-mapped uint8 array (images, size, size); block b holds images of formula b mod len(formulas).

    Each block remembers how often it was drawn; its chance is seeded by the pool's seed, its number and that
    count, so a pool is the same on every machine for as long as nobody redraws it. The files lie in a folder
    named after a hash of all this, so pools of different formulas are never mistaken for each other.
    """

    def __init__(
        self, folder: Path, formulas: tuple[Formula, ...], *, images: int, size: int, seed: int
    ) -> None:
        self.folder, self.formulas, self.size, self.seed = folder, formulas, size, seed
        self.blocks = max(1, images // BLOCK)
        described = sha256_of_json([[(f.family, f.seed) for f in formulas], self.blocks, size, seed])
        inner = folder / described[:12]
        self.images = _mapped(inner / "images.npy", np.uint8, (self.blocks * BLOCK, size, size))
        self.rounds = _mapped(inner / "rounds.npy", np.int32, (self.blocks,))

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index of the formula of each image."""
        return np.repeat(np.arange(self.blocks) % len(self.formulas), BLOCK)

    def redraw(self, block: int, device: torch.device) -> None:
        """Draw one block anew."""
        count = int(self.rounds[block])
        state = np.random.SeedSequence([self.seed, block, count]).generate_state(1, np.uint64)
        chance = torch.Generator(device).manual_seed(int(state[0]))
        fields = self.formulas[block % len(self.formulas)].draw(Canvas(BLOCK, self.size, chance))
        self.images[block * BLOCK : (block + 1) * BLOCK] = to_grey(fields).cpu().numpy()
        self.rounds[block] = count + 1

    def fill(self, device: torch.device) -> Iterator[int]:
        """Draw the blocks never drawn so far, yielding each block's number when it is there."""
        for block in np.flatnonzero(self.rounds[:] == 0):
            self.redraw(int(block), device)
            yield int(block)

    @contextmanager
    def redrawn_meanwhile(self, device: torch.device) -> Iterator[None]:
        """Let a second process redraw blocks in random order until the context ends."""
        process = multiprocessing.get_context("spawn").Process(
            target=_redraw_without_end, args=(self, device), daemon=True
        )
        process.start()
        try:
            yield
        finally:
            process.terminate()
            process.join()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as the description of the files, not as their content."""
        return _open_pool, (self.folder, self.formulas, len(self.images), self.size, self.seed)


def to_grey(fields: Tensor) -> Tensor:
    """Turn standardised values into 256 grey levels."""
    return ((fields.clamp(-_RANGE, _RANGE) / _RANGE + 1) * 127.5).round().byte()


def from_grey(images: Tensor) -> Tensor:
    """Turn grey levels back into standardised values."""
    return (images.float() / 127.5 - 1) * _RANGE


def _open_pool(folder: Path, formulas: tuple[Formula, ...], images: int, size: int, seed: int) -> Pool:
    return Pool(folder, formulas, images=images, size=size, seed=seed)


def _redraw_without_end(pool: Pool, device: torch.device) -> None:
    torch.set_num_threads(1)
    os.nice(9)  # training goes first
    parent = os.getppid()
    order = np.random.default_rng()
    while os.getppid() == parent:  # a killed trainer must not leave a process behind
        pool.redraw(int(order.integers(pool.blocks)), device)


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
