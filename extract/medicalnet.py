"""MedicalNet's 3D ResNets, whose published files fit these modules key by key.

Source: Tencent/MedicalNet, models/resnet.py. They differ from ordinary ResNets in one input channel, a step of 2 also along
the first axis, and in the last two layers, which are dilated (2 and 4) and keep the size of the second. A shortcut is a
convolution (type B) or, in some files, a mean over single voxels filled up with zero channels (type A), which has no keys.
"""

from collections.abc import Collection
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

MEDICALNET_PAPER = "Med3D: Transfer Learning for 3D Medical Image Analysis, https://arxiv.org/abs/1904.00625"

_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BOTTLENECK_FROM = 50
_USUALLY_A = (18, 34)
"""Depths whose published files have shortcuts of type A."""
_SHORTCUT_KEY = ".downsample."


class _Block(nn.Module):
    """Two convolutions, or of deep networks three, and a shortcut around them."""

    def __init__(self, convolutions: nn.ModuleDict, shortcut: nn.Module) -> None:
        super().__init__()
        for name, module in convolutions.items():
            self.add_module(name, module)
        self.n_convolutions = len(convolutions) // 2
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, values: Tensor) -> Tensor:
        """Return (n, channels, planes, rows, columns)."""
        found = values
        for i in range(1, self.n_convolutions + 1):
            found = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(found))
            if i < self.n_convolutions:
                found = self.relu(found)
        last: Tensor = self.relu(found + self.downsample(values))
        return last


class _ZeroFilled(nn.Module):
    """The shortcut of type A: every so many voxels, and zeros in the channels that are new."""

    def __init__(self, n_new: int, stride: int) -> None:
        super().__init__()
        self.n_new, self.stride = n_new, stride

    def forward(self, values: Tensor) -> Tensor:
        """Return (n, channels + n_new, planes, rows, columns)."""
        found = functional.avg_pool3d(values, kernel_size=1, stride=self.stride)
        return functional.pad(found, (0, 0, 0, 0, 0, 0, 0, self.n_new))


class _ResNet(nn.Module):
    def __init__(self, depth: int, *, is_type_a: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        n_in = 64
        for i, (stride, dilation) in enumerate(((1, 1), (2, 1), (1, 2), (1, 4))):
            blocks = []
            for k in range(_BLOCKS[depth][i]):
                block = partial(_block, depth, n_in, 64 * 2**i, dilation=dilation, is_type_a=is_type_a)
                blocks.append(block(stride=1 if k else stride))
                n_in = 64 * 2**i * (4 if depth >= _BOTTLENECK_FROM else 1)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.conv_seg = nn.Identity()  # the head, whose shape depends on what was segmented

    def forward(self, volumes: Tensor) -> Tensor:
        """Return (n, channels, planes, rows, columns) of volumes (n, 1, planes, rows, columns)."""
        found = self.maxpool(self.relu(self.bn1(self.conv1(volumes))))
        for i in range(1, 5):
            found = getattr(self, f"layer{i}")(found)
        last: Tensor = self.conv_seg(found)
        return last


def _block(depth: int, n_in: int, width: int, *, stride: int, dilation: int, is_type_a: bool) -> _Block:
    wide = {"kernel_size": 3, "padding": dilation, "dilation": dilation, "bias": False}
    narrow = {"kernel_size": 1, "bias": False}
    if depth >= _BOTTLENECK_FROM:
        n_out = 4 * width
        steps = [(n_in, width, 1, narrow), (width, width, stride, wide), (width, n_out, 1, narrow)]
    else:
        n_out = width
        steps = [(n_in, width, stride, wide), (width, width, 1, wide)]
    parts: dict[str, nn.Module] = {}
    for i, (a, b, step, options) in enumerate(steps, start=1):
        parts[f"conv{i}"] = nn.Conv3d(a, b, stride=step, **options)  # type: ignore[arg-type]
        parts[f"bn{i}"] = nn.BatchNorm3d(b)
    shortcut: nn.Module = nn.Identity()
    if stride != 1 or n_in != n_out:
        convolution = (nn.Conv3d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm3d(n_out))
        shortcut = _ZeroFilled(n_out - n_in, stride) if is_type_a else nn.Sequential(*convolution)
    return _Block(nn.ModuleDict(parts), shortcut)


def medicalnet_resnet(depth: int, keys: Collection[str] = ()) -> nn.Module:
    """Return a ResNet of 10, 18, 34 or 50 layers with fresh weights: (n, 1, planes, rows, columns) to its last map.

    Args:
        depth: number of layers.
        keys: of the weights that it is for, which tell the type of its shortcuts; of none the published type.
    """
    is_type_a = not any(_SHORTCUT_KEY in key for key in keys) if keys else depth in _USUALLY_A
    return _ResNet(depth, is_type_a=is_type_a)
