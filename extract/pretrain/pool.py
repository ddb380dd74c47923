"""The pool: procedural images on disk, one block per formula and round, redrawn one after the other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
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

    Each block remembers how often it was drawn; its random generator is seeded by the pool's seed, its number
    and that count, so a pool is the same after the same number of redraws. The files lie in a folder named after a hash
    of all this, so pools of different formulas are never mistaken for each other.
    """

    def __init__(
        self, folder: Path, formulas: tuple[Formula, ...], *, images: int, size: int, seed: int
    ) -> None:
        self.folder, self.formulas, self.size, self.seed = folder, formulas, size, seed
        self.blocks = max(1, images // BLOCK)
        described = sha256_of_json([[(f.family, f.seed) for f in formulas], self.blocks, size, seed])
        inner = folder / described[:12]
        self.labels = np.repeat(np.arange(self.blocks) % len(formulas), BLOCK)
        """int64 (images,), index of the formula of each image."""
        self.images = _mapped(inner / "images.npy", np.uint8, (self.blocks * BLOCK, size, size))
        self.rounds = _mapped(inner / "rounds.npy", np.int32, (self.blocks,))

    def bring_to(self, redraws: int, device: torch.device) -> Iterator[int]:
        """Draw whatever differs from the state after so many redraws, block after block; yield each one's number.

        Where a training was cut off after its last checkpoint, this also turns the pool back.
        """
        full, more = divmod(redraws, self.blocks)
        expected = 1 + full + (np.arange(self.blocks) < more)
        for block in np.flatnonzero(self.rounds[:] != expected):
            self._draw(int(block), int(expected[block]), device)
            yield int(block)

    def _draw(self, block: int, count: int, device: torch.device) -> None:
        state = np.random.SeedSequence([self.seed, block, count]).generate_state(1, np.uint64)
        chance = torch.Generator(device).manual_seed(int(state[0]))
        fields = self.formulas[block % len(self.formulas)].draw(Canvas(BLOCK, self.size, chance))
        self.rounds[block] = 0  # cut off between the two, the block is drawn again
        self.images[block * BLOCK : (block + 1) * BLOCK] = to_grey(fields).cpu().numpy()
        self.rounds[block] = count


def to_grey(fields: Tensor) -> Tensor:
    """Turn standardised values into 256 grey levels."""
    return ((fields.clamp(-_RANGE, _RANGE) / _RANGE + 1) * 127.5).round().byte()


def from_grey(images: Tensor) -> Tensor:
    """Turn grey levels back into standardised values."""
    return (images.float() / 127.5 - 1) * _RANGE


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
