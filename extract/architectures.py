"""The table of encoders: which networks of slices and of slabs can be used, and where their features are read."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from extract.efficientnet_lite import LAYERS as LITE_LAYERS
from extract.efficientnet_lite import LITE_PAPER, efficientnet_lite0
from extract.medicalnet import MEDICALNET_PAPER, medicalnet_resnet
from extract.vision import torchvision_models
from extract.weights_description import NONZERO, WeightsDescription
from pipeline.errors import ConfigError

PENULTIMATE = "penultimate"
MEDICALNET_PREFIX = "medicalnet_"


@dataclass(frozen=True)
class Architecture:
    """One row of the table: a network of slices or of slabs, without its head.

    Attributes:
        name: of the network, as torchvision has it.
        dim: length of the penultimate features.
        head: name of the module that turns features into classes; it is replaced by the identity, and its keys
            in a weight file are not read.
        layers: mid layers that are often read instead, with the length of their features (mean over the map); any
            other module whose output is a map may be read, too.
        build_options: keyword arguments for torchvision's builder.
        last_map: name of the module, or of the operation between modules, whose output is the map, or are the tokens,
            that the penultimate features come from.
        after_mean: name of the module that turns the mean over that map into these features, (n, c, 1, 1); empty for none.
        channels_last: the named layers give (n, h, w, c) and not (n, c, h, w), and no other can be read.
    """

    name: str
    dim: int
    head: str
    layers: Mapping[str, int] = field(default_factory=dict)
    build_options: Mapping[str, bool] = field(default_factory=dict)
    pooled_by_head: bool = False
    """The head also averages the feature map, so an average takes its place."""
    last_map: str = "features"
    after_mean: str = ""
    channels_last: bool = False
    builder: Callable[[Collection[str]], nn.Module] | None = None
    """Builds the network that has the given keys, where torchvision does not know its name; of no keys the usual one."""
    dims: int = 2
    """2 for networks of slices, 3 for networks of slabs."""
    channels: int = 3
    """That the network takes."""
    own_description: WeightsDescription | None = None
    """How weights want their images that say nothing of it themselves; None for ImageNet's mean and deviation."""
    paper: str = ""
    """Title and address, where torchvision does not name it."""

    @property
    def description(self) -> WeightsDescription:
        """How weights of this network want their images, where they say nothing of it themselves."""
        return self.own_description or WeightsDescription(self.name)

    def build(self, keys: Collection[str] = ()) -> nn.Module:
        """Return the network with fresh weights from torch's present seed and the identity for a head.

        Args:
            keys: of the weights that it is for; some networks have variants that only these tell.
        """
        network: nn.Module = (
            self.builder(keys)
            if self.builder
            else torchvision_models().get_model(self.name, weights=None, **self.build_options)
        )
        parent, _, last = self.head.rpartition(".")
        stand_in = nn.AdaptiveAvgPool2d(1) if self.pooled_by_head else nn.Identity()
        setattr(network.get_submodule(parent), last, stand_in)
        return network

    def outline(self, keys: Collection[str] = ()) -> nn.Module:
        """Return the network of `build` for its shapes alone: the largest ones take seconds to fill with numbers."""
        try:
            with torch.device("meta"):
                return self.build(keys)
        except NotImplementedError:  # RegNet computes its widths with tensors
            return self.build(keys)

    def module_of(self, layer: str) -> str:
        """Return the name of the module whose output is the map of a layer."""
        return self.last_map if layer == PENULTIMATE else layer


def _resnet(name: str, widths: tuple[int, int, int, int]) -> Architecture:
    layers = {f"layer{i + 1}": width for i, width in enumerate(widths)}
    return Architecture(name, widths[-1], "fc", layers, last_map="layer4")


_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
"""Mean and deviation of the frames that torchvision's video ResNets were trained on."""


def _video_resnet(name: str) -> Architecture:
    own = WeightsDescription(name, mean=_KINETICS[0], std=_KINETICS[1])
    layers = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    return Architecture(name, 512, "fc", layers, last_map="layer4", dims=3, own_description=own)


def _swin3d(name: str, width: int) -> Architecture:
    layers = {f"features.{2 * i}": width * 2**i for i in range(3)}
    return Architecture(name, width * 8, "head", layers, last_map="norm", channels_last=True, dims=3)


def _medicalnet(depth: int, expansion: int) -> Architecture:
    name = f"{MEDICALNET_PREFIX}resnet{depth}"
    return Architecture(
        name,
        512 * expansion,
        "conv_seg",
        {f"layer{i + 1}": 64 * 2**i * expansion for i in range(4)},
        last_map="layer4",
        builder=lambda keys: medicalnet_resnet(depth, keys),
        paper=MEDICALNET_PAPER,
        dims=3,
        channels=1,
        own_description=WeightsDescription(name, "medicalnet", scaling=NONZERO),
    )


def _efficientnet(name: str, dim: int) -> Architecture:
    return Architecture(name, dim, "classifier.1")


_ROWS = (
    _resnet("resnet18", (64, 128, 256, 512)),
    _resnet("resnet34", (64, 128, 256, 512)),
    _resnet("resnet50", (256, 512, 1024, 2048)),
    Architecture(
        "densenet121",
        1024,
        "classifier",
        {"features.denseblock1": 256, "features.denseblock2": 512, "features.denseblock3": 1024},
        last_map="relu",  # a function between features and classifier, and no module
    ),
    Architecture(
        "inception_v3", 2048, "fc", {}, {"aux_logits": False, "init_weights": False}, last_map="Mixed_7c"
    ),
    Architecture("squeezenet1_0", 512, "classifier", pooled_by_head=True),
    Architecture(
        "squeezenet1_1",
        512,
        "classifier",
        {"features.3": 128, "features.6": 256, "features.9": 384},
        pooled_by_head=True,
    ),
    Architecture("mobilenet_v3_small", 576, "classifier"),
    Architecture("mobilenet_v3_large", 960, "classifier"),
    Architecture(
        "efficientnet_lite0",
        1280,
        "classifier.1",
        LITE_LAYERS,
        builder=lambda _: efficientnet_lite0(),
        paper=LITE_PAPER,
    ),
    _efficientnet("efficientnet_b0", 1280),
    _efficientnet("efficientnet_b3", 1536),
    _efficientnet("efficientnet_v2_s", 1280),
    Architecture("regnet_y_400mf", 440, "fc", last_map="trunk_output"),
    Architecture("regnet_y_1_6gf", 888, "fc", last_map="trunk_output"),
    Architecture("convnext_tiny", 768, "classifier.2", after_mean="classifier.0"),
    Architecture("convnext_small", 768, "classifier.2", after_mean="classifier.0"),
    Architecture(
        "swin_t",
        768,
        "head",
        {"features.1": 96, "features.3": 192, "features.5": 384},
        last_map="norm",
        channels_last=True,
    ),
    Architecture("vit_b_16", 768, "heads", {"encoder.layers.encoder_layer_8": 768}, last_map="encoder"),
    _video_resnet("r3d_18"),
    _video_resnet("mc3_18"),
    _video_resnet("r2plus1d_18"),
    _swin3d("swin3d_t", 96),
    _swin3d("swin3d_s", 96),
    _swin3d("swin3d_b", 128),
    _medicalnet(10, 1),
    _medicalnet(18, 1),
    _medicalnet(34, 1),
    _medicalnet(50, 4),
)

ARCHITECTURES: Mapping[str, Architecture] = {row.name: row for row in _ROWS}


def find_architecture(name: str) -> Architecture:
    """Return the row of the table for a name.

    Raises:
        ConfigError: there is none; the nearest name is told.
    """
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
        hint = f"nearest: {near[0]!r}" if near else f"expected one of {', '.join(ARCHITECTURES)}"
        raise ConfigError(f"unknown encoder {name!r}; {hint}; `extract.py encoders` lists them")
    return ARCHITECTURES[name]
