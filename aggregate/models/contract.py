"""What a network from outside must keep, tried on drawn instances before any training."""

import torch
from torch import Tensor, nn

from aggregate.models.instances import Instances
from aggregate.models.network import Output, Shape
from aggregate.models.training import forward
from pipeline.errors import ConfigError

_SIZES = (1, 4, 7)
"""Rows of the bags that a network is tried on."""
_TOLERANCE = 1e-3
"""Largest change of a logit, as a share of the largest logit: float32 sums in another order change the seventh digit."""


def check_network(network: nn.Module, shape: Shape, name: str) -> Output:
    """Refuse a network that breaks the contract of `aggregate.models.network`; return what it says of drawn bags.

    Raises:
        ConfigError: it fails on instances, or its logits or attention are not what they must be; the message says
            which.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _checked(network, _drawn(shape), shape, name)
    finally:
        network.train(was_training)


def _checked(network: nn.Module, instances: Instances, shape: Shape, name: str) -> Output:
    output = _shown(network, instances, name)
    logits = _checked_logits(output, (instances.n_bags, shape.n_classes), name)
    _check_rows(output, instances, shape.n_classes, name)
    order = torch.cat([torch.randperm(n) + begin for begin, n in _pieces()])
    shuffled = _reordered(instances, order)
    alone = [_shown(network, _only(instances, bag), name).logits for bag in range(instances.n_bags)]
    for other, cause in (
        (_shown(network, instances, name).logits, "the same bags are shown twice"),
        (_shown(network, shuffled, name).logits, "the slices of a bag are permuted"),
        (torch.cat(alone), "another bag is in the batch"),
    ):
        change = float((other - logits).abs().max())
        if not change <= _TOLERANCE * max(1.0, float(logits.abs().max())):
            raise ConfigError(f"{name}: its prediction changes when {cause} (a logit by {change:.3g})")
    return output


def _shown(network: nn.Module, instances: Instances, name: str) -> Output:
    try:
        output = forward(network, instances, torch.float32)
    except Exception as error:  # what somebody else's code raises cannot be listed
        raise ConfigError(
            f"{name}: its forward(instances) fails: {type(error).__name__}: {_first_line(error)}"
        ) from error
    if not isinstance(output.logits, Tensor):
        raise ConfigError(f"{name}: expected logits as a tensor, found {type(output.logits).__name__}")
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
    if output.attention is not None:
        sums = torch.zeros(instances.n_bags).index_add(0, instances.bag, output.attention.float())
        if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
            raise ConfigError(
                f"{name}: expected attention that sums to 1 in every bag, found {sums.tolist()}"
            )


def _drawn(shape: Shape) -> Instances:
    """Draw bags of standardised features, each bag's slices in runs of one phase."""
    bag = torch.repeat_interleave(torch.arange(len(_SIZES)), torch.tensor(_SIZES))
    phase = torch.cat([torch.sort(torch.randint(shape.n_phases, (n,))).values for n in _SIZES])
    here = torch.arange(len(bag))
    is_next = (bag[1:] == bag[:-1]) & (phase[1:] == phase[:-1])
    below, above = here.clone(), here.clone()
    below[1:] -= is_next.long()
    above[:-1] += is_next.long()
    features = torch.randn(len(bag), shape.n_features)
    return Instances(features, bag, phase, below, above, len(_SIZES), shape.n_phases)


def _pieces() -> list[tuple[int, int]]:
    """Return where each bag begins, and its rows."""
    return [(sum(_SIZES[:bag]), n) for bag, n in enumerate(_SIZES)]


def _reordered(instances: Instances, order: Tensor) -> Instances:
    """Return the instances with row i taken from row order[i], neighbours named anew."""
    place = order.argsort()
    return Instances(
        features=instances.features[order],
        bag=instances.bag[order],
        phase=instances.phase[order],
        below=place[instances.below[order]],
        above=place[instances.above[order]],
        n_bags=instances.n_bags,
        n_phases=instances.n_phases,
    )


def _only(instances: Instances, bag: int) -> Instances:
    """Return one bag by itself."""
    rows = torch.nonzero(instances.bag == bag).squeeze(1)
    return Instances(
        features=instances.features[rows],
        bag=torch.zeros_like(rows),
        phase=instances.phase[rows],
        below=instances.below[rows] - rows[0],
        above=instances.above[rows] - rows[0],
        n_bags=1,
        n_phases=instances.n_phases,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
