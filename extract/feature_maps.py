"""What every encoder gives, whatever door it came through: feature maps of named layers for a batch of images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What one layer says of n images: a map over places, tokens, or one vector an image.

    Attributes:
        layer: name of the layer, as the configuration writes it.
        values: floating (n, c, h, w) for a map, of slabs (n, c, t, h, w); (n, tokens, c) for tokens; (n, c) for a vector, which
            has no places.
        grid: rows and columns of the patch tokens, of slabs planes, rows and columns; the last runs first. None unless the
            values are tokens.
        n_prefix: tokens before the patch tokens, the class token first (register tokens count too); 0 where there is
            no class token.
        after_mean: what the network does to a mean over places, float32 (n, c) to float32 (n, c), such as the
            normalisation that follows the pooling; None for nothing.
    """

    layer: str
    values: Tensor
    grid: tuple[int, ...] | None = None
    n_prefix: int = 0
    after_mean: Callable[[Tensor], Tensor] | None = None

    @property
    def places(self) -> Tensor | None:
        """The map as (n, c, h, w), of slabs (n, c, t, h, w), a view; None for a vector."""
        if self.grid is None:
            return self.values if self.values.ndim > 2 else None
        patches: Tensor = self.values[:, self.n_prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)

    @property
    def class_token(self) -> Tensor | None:
        """The class token (n, c); None where there is none."""
        return self.values[:, 0] if self.grid is not None and self.n_prefix else None


class FeatureNetwork(Protocol):
    """A network in inference mode."""

    def __call__(self, inputs: Tensor) -> tuple[FeatureMap, ...]:
        """Return one map per wanted layer, in the order of the configuration.

        It is called under autocast, always with the same number of images.

        Args:
            inputs: float32 (n, channels, height, width), of slabs (n, channels, planes, height, width), normalised as the
                weights want it, channels last in memory.
        """
        ...

    def plainly(self, inputs: Tensor) -> tuple[FeatureMap, ...]:
        """Return the same without torch.compile, for any number of images."""
        ...
