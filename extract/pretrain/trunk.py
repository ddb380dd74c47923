"""The network that is trained: one of the table of encoders, with batch norms while it learns."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from extract.architectures import find_architecture
from extract.checkpoints import find_checkpoint, load_strictly


class NormedConv(nn.Module):
    """A convolution and the batch norm that training adds behind it; both become one convolution when written."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve, then normalise."""
        normalised: Tensor = self.norm(self.convolution(images))
        return normalised

    def folded(self) -> nn.Conv2d:
        """Return the convolution that does the same as both."""
        return fuse_conv_bn_eval(self.convolution, self.norm)

    def undo_norm_of(self, maps: Tensor) -> None:
        """Set the batch norm so that maps (n, channels, rows, columns) leave it as they came."""
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
        deviation = (variance + self.norm.eps).sqrt()
        values = {"bias": mean, "weight": deviation, "running_mean": mean, "running_var": variance}
        for name, value in values.items():
            getattr(self.norm, name).copy_(value)


def trunk(architecture: str, begin_from: Path | None = None) -> tuple[nn.Module, int]:
    """Build a network of the table of encoders, with batch norms where it has none; count its features.

    Args:
        architecture: a name of the table.
        begin_from: weight file to begin from; None: random weights.

    Raises:
        ConfigError: there is no such architecture.
        WeightsError: the weights do not fit to the last key, or are another architecture's.
    """
    row = find_architecture(architecture)
    network = row.build()
    if begin_from is not None:
        load_strictly(network, row, find_checkpoint(row, str(begin_from)))
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        _replace(network, nn.Conv2d, NormedConv)
    return network, row.dim


def undo_added_norms(network: nn.Module, images: Tensor) -> None:
    """Set the batch norms that training added so that they change nothing on `images` (n, 3, s, s)."""
    added = [module for module in network.modules() if isinstance(module, NormedConv)]
    hooks = [
        one.convolution.register_forward_hook(lambda _module, _inputs, maps, one=one: one.undo_norm_of(maps))
        for one in added
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in inference mode without the batch norms that training added."""
    network = copy.deepcopy(network).eval()
    _replace(network, NormedConv, NormedConv.folded)
    return network


def _replace(network: nn.Module, kind: type[nn.Module], by: Callable[..., nn.Module]) -> None:
    for name, child in network.named_children():
        if isinstance(child, kind):
            setattr(network, name, by(child))
        else:
            _replace(child, kind, by)
