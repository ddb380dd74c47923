"""The network that is trained: one of the table of encoders, with batch norms while it learns."""

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from extract.architectures import find_architecture


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


def trunk(architecture: str) -> tuple[nn.Module, int]:
    """Build an untrained network of the table of encoders, with batch norms where it has none; count its features."""
    row = find_architecture(architecture)
    network = row.build()
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        _replace(network, nn.Conv2d, NormedConv)
    return network, row.dim


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
