"""Checks of a user's network on random instances before any training."""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from aggregate.models.instances import Instances
from aggregate.models.network import Output, Shape
from aggregate.models.training import forward
from pipeline.errors import ConfigError

_SIZES = (1, 4, 7)
"""Number of rows of each test bag."""
_TOLERANCE = 1e-3
"""Largest allowed change of a logit, relative to the largest logit: the order of float32 sums changes the seventh digit."""


def check_network(network: nn.Module, shape: Shape, name: str, dtype: torch.dtype = torch.float32) -> Output:
    """Refuse a network that breaks the contract of `aggregate.models.network`; return its output for random bags.

    One training step is run in the precision `dtype`, on a copy; all else in float32.

    Raises:
        ConfigError: the network raises an error, or its logits, attention, evidence or loss break the contract; the
            message names the broken rule.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"{name}: expected a network with parameters to train, found none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        instances = _drawn(shape)
        with torch.no_grad():
            output = _checked(deepcopy(network).cpu().eval(), instances, shape, name)
        _try_step(deepcopy(network).cpu().train(), instances, shape, name, dtype)
    return output


def _try_step(network: nn.Module, instances: Instances, shape: Shape, name: str, dtype: torch.dtype) -> None:
    """Run one training step, with the network's auxiliary loss if it has one."""
    shown = replace(instances, features=instances.features.to(dtype))
    output = _shown(network, shown, name, dtype)
    target = torch.arange(instances.n_bags) % shape.n_classes
    try:
        loss = nn.functional.cross_entropy(output.logits.float(), target, reduction="none")
        if output.auxiliary_loss is not None:
            more = output.auxiliary_loss(target)
            if tuple(more.shape) != (instances.n_bags,):
                raise ConfigError(
                    f"{name}: expected an auxiliary loss (bags,) = ({instances.n_bags},), found {tuple(more.shape)}"
                )
            loss = loss + more
        loss.mean().backward()
    except ConfigError:
        raise
    except Exception as error:  # what somebody else's code raises cannot be listed
        raise ConfigError(f"{name}: a step of training fails: {said(error)}") from error


def _checked(network: nn.Module, instances: Instances, shape: Shape, name: str) -> Output:
    output = _shown(network, instances, name)
    logits = _checked_logits(output, (instances.n_bags, shape.n_classes), name)
    _check_rows(output, instances, shape.n_classes, name)
    order = torch.cat([torch.randperm(n) + begin for begin, n in _pieces()])
    shuffled = _shown(network, _reordered(instances, order), name)
    alone = [_shown(network, _only(instances, bag), name).logits for bag in range(instances.n_bags)]
    for other, cause in (
        (_shown(network, instances, name).logits, "the same bags are shown twice"),
        (shuffled.logits, "the slices of a bag are permuted"),
        (torch.cat(alone), "another bag is in the batch"),
    ):
        change = _change(other, logits)
        if not change <= _TOLERANCE:
            raise ConfigError(f"{name}: its prediction changes when {cause} (a logit by {change:.3g})")
    for what in ("attention", "evidence"):
        before, after = getattr(output, what), getattr(shuffled, what)
        if before is not None and not _change(after, before[order]) <= _TOLERANCE:
            raise ConfigError(f"{name}: its {what} is not permuted along with the slices")
    return output


def _change(other: Tensor, reference: Tensor) -> float:
    """Return the largest difference, relative to the largest number if that is above 1."""
    return float((other - reference).abs().max()) / max(1.0, float(reference.abs().max()))


def _shown(network: nn.Module, instances: Instances, name: str, dtype: torch.dtype = torch.float32) -> Output:
    try:
        output = forward(network, instances, dtype)
    except Exception as error:  # what somebody else's code raises cannot be listed
        raise ConfigError(f"{name}: its forward(instances) fails: {said(error)}") from error
    for what in ("logits", "attention", "evidence"):
        values = getattr(output, what)
        if not isinstance(values, Tensor) and (what == "logits" or values is not None):
            raise ConfigError(f"{name}: expected {what} as a tensor, found {type(values).__name__}")
    return output


def _checked_logits(output: Output, shape: tuple[int, int], name: str) -> Tensor:
    logits = output.logits
    if tuple(logits.shape) != shape:
        raise ConfigError(f"{name}: expected logits (bags, classes) = {shape}, found {tuple(logits.shape)}")
    if logits.dtype != torch.float32:
        raise ConfigError(f"{name}: expected logits in float32, found {logits.dtype}")
    if not logits.isfinite().all():
        raise ConfigError(f"{name}: expected finite logits, found {logits.flatten().tolist()}")
    return logits


def _check_rows(output: Output, instances: Instances, n_classes: int, name: str) -> None:
    n_rows = len(instances.bag)
    wanted = {"attention": (n_rows,), "evidence": (n_rows, n_classes)}
    for what, shape in wanted.items():
        values: Tensor | None = getattr(output, what)
        if values is not None and tuple(values.shape) != shape:
            raise ConfigError(f"{name}: expected {what} {shape}, found {tuple(values.shape)}")
        if values is not None and not values.isfinite().all():
            raise ConfigError(f"{name}: expected finite {what}, found {values.flatten().tolist()}")
    if output.attention is not None:
        sums = torch.zeros(instances.n_bags).index_add(0, instances.bag, output.attention.float())
        if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4) or (output.attention < 0).any():
            found = output.attention.tolist()
            raise ConfigError(
                f"{name}: expected attention of 0 or more that sums to 1 in every bag, found {found}"
            )


def _drawn(shape: Shape) -> Instances:
    """Draw random bags of standardised features, the slices of each bag grouped by phase and scale."""
    bag = torch.repeat_interleave(torch.arange(len(_SIZES)), torch.tensor(_SIZES))
    n_groups = shape.n_phases * shape.n_scales
    group = torch.cat([torch.sort(torch.randint(n_groups, (n,))).values for n in _SIZES])
    here = torch.arange(len(bag))
    is_next = (bag[1:] == bag[:-1]) & (group[1:] == group[:-1])
    below, above = here.clone(), here.clone()
    below[1:] -= is_next.long()
    above[:-1] += is_next.long()
    features = torch.randn(len(bag), shape.n_features)
    return Instances(
        features=features,
        bag=bag,
        phase=group // shape.n_scales,
        below=below,
        above=above,
        n_bags=len(_SIZES),
        n_phases=shape.n_phases,
        scale=group % shape.n_scales,
        n_scales=shape.n_scales,
    )


def _pieces() -> list[tuple[int, int]]:
    """Return the first row of each bag, and its number of rows."""
    return [(sum(_SIZES[:bag]), n) for bag, n in enumerate(_SIZES)]


def _reordered(instances: Instances, order: Tensor) -> Instances:
    """Return the instances with row i taken from row order[i], with neighbour indices renumbered."""
    place = order.argsort()
    return Instances(
        features=instances.features[order],
        bag=instances.bag[order],
        phase=instances.phase[order],
        below=place[instances.below[order]],
        above=place[instances.above[order]],
        n_bags=instances.n_bags,
        n_phases=instances.n_phases,
        scale=instances.scale[order],
        n_scales=instances.n_scales,
    )


def _only(instances: Instances, bag: int) -> Instances:
    """Return one bag as a batch of its own."""
    rows = torch.nonzero(instances.bag == bag).squeeze(1)
    return Instances(
        features=instances.features[rows],
        bag=torch.zeros_like(rows),
        phase=instances.phase[rows],
        below=instances.below[rows] - rows[0],
        above=instances.above[rows] - rows[0],
        n_bags=1,
        n_phases=instances.n_phases,
        scale=instances.scale[rows],
        n_scales=instances.n_scales,
    )


def said(error: Exception) -> str:
    """Return the class of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
