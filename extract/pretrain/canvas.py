"""What a formula draws on: a batch of square canvases on one device, with a random generator."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Canvas:
    """A batch of `n` square images of `size` pixels to be filled by one formula.

    Attributes:
        n: images in the batch.
        size: side in pixels.
        chance: random generator of everything that differs between images of one formula; its device is the canvas'.
    """

    n: int
    size: int
    chance: torch.Generator

    @property
    def device(self) -> torch.device:
        """Where the images are drawn."""
        return self.chance.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw (n, *shape) numbers between `low` and `high`."""
        return low + (high - low) * torch.rand(self.n, *shape, generator=self.chance, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Draw (n, *shape) standard normal numbers."""
        return torch.randn(self.n, *shape, generator=self.chance, device=self.device)

    def integers(self, *shape: int, below: int) -> Tensor:
        """Draw (n, *shape) integers from 0 to `below` - 1."""
        return torch.randint(below, (self.n, *shape), generator=self.chance, device=self.device)

    def points(self) -> tuple[Tensor, Tensor]:
        """Return x and y of the pixel centres, each (size, size), from -1 to 1."""
        line = (torch.arange(self.size, device=self.device) + 0.5) * (2 / self.size) - 1
        y, x = torch.meshgrid(line, line, indexing="ij")
        return x, y

    def filtered_noise(self, amplitude: Tensor) -> Tensor:
        """Filter white noise by `amplitude` over (size, size // 2 + 1) frequencies; (n, size, size), std 1."""
        return self.filter(self.normal(self.size, self.size), amplitude)

    def filter(self, field: Tensor, amplitude: Tensor) -> Tensor:
        """Multiply the spectrum of `field` by `amplitude` and bring the result to mean 0 and deviation 1."""
        return standardised(torch.fft.irfft2(torch.fft.rfft2(field) * amplitude, s=(self.size, self.size)))

    def frequencies(self) -> tuple[Tensor, Tensor]:
        """Return the frequencies along x and y, in cycles per canvas, of the half spectrum of `rfft2`."""
        along_y = torch.fft.fftfreq(self.size, 1 / self.size, device=self.device)
        along_x = torch.fft.rfftfreq(self.size, 1 / self.size, device=self.device)
        y, x = torch.meshgrid(along_y, along_x, indexing="ij")
        return x, y


def standardised(fields: Tensor) -> Tensor:
    """Bring each (size, size) image of a batch to mean 0 and standard deviation 1."""
    fields = fields - fields.mean((-2, -1), keepdim=True)
    return fields / fields.std((-2, -1), keepdim=True).clamp_min(1e-6)


def column(values: Tensor | Sequence[float]) -> Tensor:
    """Turn (n,) numbers into (n, 1, 1), to act on images."""
    return torch.as_tensor(values)[:, None, None]
