"""EfficientNet-Lite0 as TensorFlow trained it, out of torchvision's EfficientNet.

torchvision has no Lite networks. Lite0 is its B0 with four differences, each of which changes the features: no squeeze
and excitation, ReLU6 for SiLU, 1e-3 in the batch norms, and the padding of TensorFlow, which for a step of 2 puts the
odd pixel below and to the right. Source: tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py.
"""

import re
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from extract.vision import torchvision_models
from extract.weights_description import WeightsDescription

LITE_PAPER = "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, https://arxiv.org/abs/1905.11946"

KEY_MAP = "efficientnet_lite"
_EPSILON = 1e-3
# expansion, kernel, stride, channels in, channels out, blocks
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
LAYERS = {f"features.{i}": out for i, (*_, out, _) in enumerate(_STAGES, start=1)}
_PLACES = [f"{i}.{k}" for i, (*_, blocks) in enumerate(_STAGES, start=1) for k in range(blocks)]
"""Where torchvision has the blocks that the file counts through."""
_BLOCK_KEY = re.compile(r"^_blocks\.(\d+)\._(expand_conv|bn0|depthwise_conv|bn1|project_conv|bn2)\.(.+)$")
_INSIDE = {"expand_conv": (0, 0), "bn0": (0, 1), "depthwise_conv": (1, 0), "bn1": (1, 1), "project_conv": (3, 0), "bn2": (3, 1)}  # fmt: skip
"""Which convolution of torchvision's block, and the convolution or its norm; 2 is the squeeze that Lite lacks."""
_OUTSIDE = {"_conv_stem": "features.0.0", "_bn0": "features.0.1", "_conv_head": "features.8.0", "_bn1": "features.8.1", "_fc": "classifier.1"}  # fmt: skip


class SamePaddedConv2d(nn.Conv2d):
    """A convolution with the padding "SAME" of TensorFlow: ceil(size / stride) rows and columns come out."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Pad and convolve (n, channels, rows, columns)."""
        rows, columns = (self._padding_of(axis, size) for axis, size in enumerate(input.shape[-2:]))
        return super().forward(functional.pad(input, (*columns, *rows)))

    def _padding_of(self, axis: int, size: int) -> tuple[int, int]:
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def efficientnet_lite0() -> nn.Module:
    """Return the network with its head and fresh weights: (n, 3, rows, columns) to 1000 logits."""
    parts = torchvision_models().efficientnet
    block = partial(parts.MBConv, se_layer=lambda *_, **__: nn.Identity())
    network: nn.Module = parts.EfficientNet(
        [parts.MBConvConfig(*stage, block=block) for stage in _STAGES],
        dropout=0.2,
        stochastic_depth_prob=0.0,
        norm_layer=partial(nn.BatchNorm2d, eps=_EPSILON),
    )
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.SiLU):
                setattr(parent, name, nn.ReLU6(inplace=True))
            elif isinstance(child, nn.Conv2d) and child.stride != (1, 1):
                setattr(parent, name, _same_padded(child))
    return network


def _same_padded(convolution: nn.Conv2d) -> SamePaddedConv2d:
    padded = SamePaddedConv2d(
        convolution.in_channels,
        convolution.out_channels,
        (convolution.kernel_size[0], convolution.kernel_size[1]),
        stride=(convolution.stride[0], convolution.stride[1]),
        groups=convolution.groups,
        bias=False,
    )
    padded.weight = convolution.weight
    return padded


def torchvision_key(key: str) -> str:
    """Return torchvision's spelling of a key as EfficientNet-PyTorch writes it; any other comes back as it is."""
    block = _BLOCK_KEY.match(key)
    if block is None:
        name, _, rest = key.partition(".")
        return f"{_OUTSIDE[name]}.{rest}" if name in _OUTSIDE else key
    number, part, rest = int(block[1]), block[2], block[3]
    convolution, norm = _INSIDE[part]
    if number >= len(_PLACES):
        return key
    if number == 0:
        convolution -= 1  # the first block expands nothing
    return f"features.{_PLACES[number]}.block.{convolution}.{norm}.{rest}"


def description() -> WeightsDescription:
    """Describe weights of the authors: RGB, (x - 127) / 128 of values from 0 to 255, by efficientnet_lite_builder.py."""
    mean, std = 127 / 255, 128 / 255
    return WeightsDescription("efficientnet_lite0", KEY_MAP, (mean, mean, mean), (std, std, std))
