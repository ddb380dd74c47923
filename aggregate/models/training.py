"""The training loop of all networks: AdamW on batches of bags, with early stopping on the tuning bags."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from aggregate.models.instances import Instances, PackedBags
from aggregate.models.network import Output
from pipeline.errors import TrainingError

BAGS_PER_FORWARD = 8
_ROWS_MULTIPLE = 128
"""oneDNN, which computes bfloat16 products on a CPU, compiles a kernel for every new number of rows: with the rows padded
to a multiple of this, a fit takes 0.6 times the CPU seconds (benchmarks/mil_speed.py)."""


@dataclass(frozen=True)
class Training:
    """Settings of the training loop."""

    epochs: int
    """Largest number of passes over the training bags."""
    patience: int
    """Epochs without a lower tuning loss after which training stops."""
    learning_rate: float
    """Learning rate of AdamW."""
    weight_decay: float
    """Decoupled weight decay of AdamW."""
    bags_per_step: int
    """Approximate number of training bags per step: an epoch is divided into equal steps."""
    dtype: torch.dtype
    """Number format of the matrix products over instances; parameters and losses are float32."""


@dataclass(frozen=True, eq=False)
class Task:
    """The training data of a network.

    Attributes:
        bags: the training and tuning bags, standardised.
        train: intp, bags to train on.
        tune: intp, bags for early stopping; empty to train all epochs.
        codes: int64 (bags,), class of every bag.
        class_weights: float32 (classes,), weight of each class in the loss.
    """

    bags: PackedBags
    train: NDArray[np.intp]
    tune: NDArray[np.intp]
    codes: Tensor
    class_weights: Tensor


@dataclass(frozen=True)
class Course:
    """How a training went, epoch by epoch.

    Attributes:
        kept: the epoch whose weights are kept, from 0.
        train: mean loss of the steps of each epoch, as trained on: with dropout and auxiliary terms.
        tune: loss of the tuning bags after each epoch; empty without tuning bags.
    """

    kept: int
    train: tuple[float, ...]
    tune: tuple[float, ...]


def train(network: nn.Module, task: Task, training: Training, rng: np.random.Generator) -> Course:
    """Train a network in place, restore the weights of lowest tuning loss, and return the course of the losses.

    `rng` draws the order of the bags; all other random numbers come from PyTorch's global generator.

    Raises:
        TrainingError: the loss became infinite or NaN.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    n_steps = max(1, round(len(task.train) / training.bags_per_step))
    best_loss, best_epoch, best_state = math.inf, 0, deepcopy(network.state_dict())
    train_losses: list[float] = []
    tune_losses: list[float] = []
    for epoch in range(training.epochs):
        network.train()
        of_steps = []
        for bags in np.array_split(rng.permutation(task.train), n_steps):
            optimizer.zero_grad()
            loss = _losses(network, task, bags, training.dtype).mean()
            _check_finite(loss, epoch, training)
            loss.backward()
            optimizer.step()
            of_steps.append(float(loss.detach()))
        train_losses.append(float(np.mean(of_steps)))
        tuning_loss = -float(epoch)
        if len(task.tune):
            tuning_loss = _tuning_loss(network, task, training.dtype)
            tune_losses.append(tuning_loss)
        if tuning_loss < best_loss:
            best_loss, best_epoch, best_state = tuning_loss, epoch, deepcopy(network.state_dict())
        elif epoch - best_epoch >= training.patience:
            break
    if best_loss == math.inf:
        raise TrainingError(
            "training diverged: the loss of the tuning patients is NaN or infinite in every epoch"
        )
    network.load_state_dict(best_state)
    network.eval()
    return Course(best_epoch, tuple(train_losses), tuple(tune_losses))


def forward(network: nn.Module, instances: Instances, dtype: torch.dtype) -> Output:
    """Run a network on some bags in a precision; a network that returns logits only gets an Output around them."""
    with torch.autocast(instances.features.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = network(instances)
    return output if isinstance(output, Output) else Output(output)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the operations of this thread on one core: for a few bags, starting a second core costs more time than it saves."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _losses(network: nn.Module, task: Task, bags: NDArray[np.intp], dtype: torch.dtype) -> Tensor:
    """Return the weighted cross-entropy of each bag (bags,)."""
    is_filled = dtype == torch.bfloat16 and task.codes.device.type == "cpu"
    instances = task.bags.take(bags, rows_multiple=_ROWS_MULTIPLE if is_filled else 1)
    # The padding bag, if there is one, has an arbitrary class and is left out of the loss.
    target = functional.pad(task.codes[torch.from_numpy(bags)], (0, instances.n_bags - len(bags)))
    output = forward(network, instances, dtype)
    losses = functional.cross_entropy(output.logits.float(), target, reduction="none")
    if output.auxiliary_loss is not None:
        losses = losses + output.auxiliary_loss(target)
    return (losses * task.class_weights[target])[: len(bags)]


def _tuning_loss(network: nn.Module, task: Task, dtype: torch.dtype) -> float:
    """Return the mean weighted cross-entropy of the tuning bags."""
    network.eval()
    pieces = np.array_split(task.tune, math.ceil(len(task.tune) / BAGS_PER_FORWARD))
    with torch.inference_mode():
        losses = []
        for bags in pieces:
            target = task.codes[torch.from_numpy(bags)]
            logits = forward(network, task.bags.take(bags), dtype).logits.double()
            losses.append(
                functional.cross_entropy(logits, target, reduction="none") * task.class_weights[target]
            )
        return float(torch.cat(losses).mean())


def _check_finite(loss: Tensor, epoch: int, training: Training) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(
            f"training diverged in epoch {epoch + 1}: the loss is {float(loss.detach())}; try a learning_rate below "
            f"{training.learning_rate:g}"
        )
