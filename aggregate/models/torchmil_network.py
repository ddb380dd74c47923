"""A torchmil model as a network: one copy per class, evaluated one bag at a time.

torchmil's models have one logit, so each class has its own copy, and the logits of the copies are concatenated. A
model with an argument `adj` gets the normalised adjacency of neighbouring slices. Losses that a model adds to its
criterion during training, such as CLAM's instance loss, are added here too. torchmil's mask is not needed for a single
bag.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from aggregate.models.instances import Instances
from aggregate.models.network import Network, Output, Shape
from pipeline.errors import ConfigError

PREFIX = "torchmil.models"
_KEPT_ALIVE: list[torch.library.Library] = []


class OneForEachClass(Network):
    """Copies of one torchmil model, one for each class."""

    def __init__(self, model: type[nn.Module], shape: Shape, settings: Mapping[str, Any]) -> None:
        super().__init__()
        # The default arguments of torchmil's constructors are objects shared by all models.
        copies = [deepcopy(model(in_shape=(shape.n_features,), **settings)) for _ in range(shape.n_classes)]
        self.of_class = nn.ModuleList(copies)

    def forward(self, instances: Instances) -> Output:
        """Return logits, and torchmil's additional losses."""
        bags = _as_torchmil(instances)
        logits = [[model(**_asked_for(model.forward, bag)).mean() for model in self.of_class] for bag in bags]
        stacked = torch.stack([torch.stack(row) for row in logits]).float()
        return Output(stacked, auxiliary_loss=partial(self._further_losses, bags))

    def _further_losses(self, bags: list[dict[str, Tensor]], target: Tensor) -> Tensor:
        """Return the losses of each bag beside the criterion (bags,), averaged over the classes."""
        return torch.stack([self._of_bag(bag, int(code)) for bag, code in zip(bags, target, strict=True)])

    def _of_bag(self, bag: dict[str, Tensor], code: int) -> Tensor:
        total = next(iter(bag.values())).new_zeros(())
        for number, model in enumerate(self.of_class):
            label = torch.tensor([float(number == code)], device=total.device)
            compute = cast("Callable[..., tuple[Tensor, Mapping[str, Tensor]]]", model.compute_loss)
            _, losses = compute(label, **_asked_for(compute, bag))
            criterion = type(model.criterion).__name__
            total = total + sum(loss.mean() for name, loss in losses.items() if name != criterion)
        return total / len(self.of_class)


def torchmil_class(name: str) -> type[nn.Module]:
    """Return a model class of torchmil by name.

    Raises:
        ConfigError: the extra `mil` is not installed, or torchmil has no model of this name.
    """
    found = getattr(_import_torchmil_models(), name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(f"torchmil has no model {name!r}; see torchmil.models for their names")
    return found


def _import_torchmil_models() -> ModuleType:
    if importlib.util.find_spec("torchmil") is None:
        raise ConfigError("a model of torchmil needs the extra `mil`: pip install 'phasemil[mil]'")
    # torchmil imports torchmetrics, which imports torchvision; beside a CPU build of torch that fails for want of
    # two operator schemas (see extract.vision, which this stage must not import).
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT_ALIVE.append(library)
    return importlib.import_module(PREFIX)


def _as_torchmil(instances: Instances) -> list[dict[str, Tensor]]:
    """Return the arguments that torchmil's models may have, with a first axis of one bag."""
    bags = []
    end = instances.sizes.cumsum(0).tolist()
    for begin, stop in zip([0, *end], end, strict=False):
        features = instances.features[begin:stop].float()
        adjacency = _adjacency(instances.below[begin:stop] - begin)
        bags.append({"X": features.unsqueeze(0), "adj": adjacency.unsqueeze(0)})
    return bags


def _adjacency(below: Tensor) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2 (n, n) for n slices, with A the adjacency given by the row below each slice."""
    here = torch.arange(len(below), device=below.device)
    joined = torch.eye(len(below), device=below.device)
    joined[here, below] = 1
    joined[below, here] = 1
    scale = joined.sum(dim=1).rsqrt()
    return scale[:, None] * joined * scale


def _asked_for(function: Callable[..., Any], bag: dict[str, Tensor]) -> dict[str, Tensor]:
    names = inspect.signature(function).parameters
    return {name: value for name, value in bag.items() if name in names}
