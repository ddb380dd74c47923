"""Training of a network with one score per patient: every step sees all training patients, whose outcomes are compared."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aggregate.models.instances import PackedBags
from aggregate.models.training import BAGS_PER_FORWARD, Course, Training, forward
from aggregate.outcomes.models.cumulative_logits import cuts_of, grade_losses, starting_cuts
from aggregate.outcomes.models.partial_likelihood import RiskSets, partial_log_likelihood
from aggregate.outcomes.outcome import Values
from pipeline.errors import TrainingError


class Objective(Protocol):
    """A loss of the scores of the training patients, and one of the tuning patients beside them."""

    def parameters(self) -> list[nn.Parameter]:
        """Return what is learned beside the network."""
        ...

    def training_loss(self, scores: Tensor) -> Tensor:
        """Return the loss of the scores of the training patients (n_train,)."""
        ...

    def tuning_loss(self, scores: Tensor) -> Tensor:
        """Return the loss of the tuning patients, given the scores of all, the training patients first (n_train + n_tune,)."""
        ...


class CoxObjective:
    """Minus the partial log-likelihood per event; of the tuning patients what they add to that of the training patients."""

    def __init__(self, values: Values, n_train: int, device: str) -> None:
        self.n_train = n_train
        self.of_train = RiskSets.of(values[:n_train], device)
        self.of_all = RiskSets.of(values, device)

    def parameters(self) -> list[nn.Parameter]:
        """Return nothing."""
        return []

    def training_loss(self, scores: Tensor) -> Tensor:
        """Return minus the mean over the events of the training patients."""
        return -partial_log_likelihood(scores, self.of_train) / len(self.of_train)

    def tuning_loss(self, scores: Tensor) -> Tensor:
        """Return minus the mean over the events of the tuning patients."""
        added = partial_log_likelihood(scores, self.of_all)
        added = added - partial_log_likelihood(scores[: self.n_train], self.of_train)
        return -added / max(1, len(self.of_all) - len(self.of_train))


class SquaredObjective:
    """Mean squared error of standardised numbers."""

    def __init__(self, numbers: NDArray[np.float64], n_train: int, device: str) -> None:
        self.n_train = n_train
        self.numbers = torch.from_numpy(numbers).to(device)

    def parameters(self) -> list[nn.Parameter]:
        """Return nothing."""
        return []

    def training_loss(self, scores: Tensor) -> Tensor:
        """Return the mean over the training patients."""
        return (scores - self.numbers[: self.n_train].to(scores.dtype)).square().mean()

    def tuning_loss(self, scores: Tensor) -> Tensor:
        """Return the mean over the tuning patients."""
        return (scores - self.numbers.to(scores.dtype))[self.n_train :].square().mean()


class GradeObjective:
    """Mean negative log-likelihood of grades by cumulative logits, whose cut-offs are learned with the network."""

    def __init__(self, codes: NDArray[np.intp], n_grades: int, n_train: int, device: str) -> None:
        self.n_train = n_train
        self.codes = torch.from_numpy(codes).to(device)
        first, gaps = starting_cuts(codes[:n_train], n_grades)
        self.first, self.gaps = (nn.Parameter(torch.from_numpy(a).float().to(device)) for a in (first, gaps))

    def parameters(self) -> list[nn.Parameter]:
        """Return what the cut-offs are made of."""
        return [self.first, self.gaps]

    def cuts(self) -> Tensor:
        """Return the cut-offs (grades - 1,)."""
        return cuts_of(self.first, self.gaps)

    def training_loss(self, scores: Tensor) -> Tensor:
        """Return the mean over the training patients."""
        return self._losses(scores, self.codes[: self.n_train]).mean()

    def tuning_loss(self, scores: Tensor) -> Tensor:
        """Return the mean over the tuning patients."""
        return self._losses(scores, self.codes)[self.n_train :].mean()

    def _losses(self, scores: Tensor, codes: Tensor) -> Tensor:
        return grade_losses(scores, codes, self.cuts().to(scores.dtype))


@dataclass(frozen=True, eq=False)
class ScoredTask:
    """Bags to train on and to tune on.

    Attributes:
        bags: the training bags, then the tuning bags.
        n_train: number of training bags.
        objective: the loss.
    """

    bags: PackedBags
    n_train: int
    objective: Objective


def train_scores(network: nn.Module, task: ScoredTask, training: Training) -> Course:
    """Train a network in place by AdamW, one step an epoch, and restore the weights of lowest tuning loss.

    Raises:
        TrainingError: the loss became infinite or NaN.
    """
    learned = [*network.parameters(), *task.objective.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=training.learning_rate, weight_decay=training.weight_decay)
    everybody, has_tune = np.arange(len(task.bags)), len(task.bags) > task.n_train
    best_loss, best_epoch, best = math.inf, 0, [parameter.detach().clone() for parameter in learned]
    train_losses, tune_losses = list[float](), list[float]()
    instances = task.bags.take(everybody[: task.n_train])
    for epoch in range(training.epochs):
        network.train()
        optimizer.zero_grad()
        scores = forward(network, instances, training.dtype).logits[:, 0].float()
        loss = task.objective.training_loss(scores)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"training diverged in epoch {epoch + 1}: the loss is {float(loss.detach())}; try a learning_rate below "
                f"{training.learning_rate:g}"
            )
        loss.backward()
        optimizer.step()
        train_losses.append(float(loss.detach()))
        tuning_loss = -float(epoch)
        if has_tune:
            with torch.inference_mode():
                tuning_loss = float(
                    task.objective.tuning_loss(scores_of(network, task.bags, everybody, training.dtype))
                )
            tune_losses.append(tuning_loss)
        if tuning_loss < best_loss:
            best_loss, best_epoch = tuning_loss, epoch
            best = [parameter.detach().clone() for parameter in learned]
        elif epoch - best_epoch >= training.patience:
            break
    if best_loss == math.inf:
        raise TrainingError(
            "training diverged: the loss of the tuning patients is NaN or infinite in every epoch"
        )
    with torch.no_grad():
        for parameter, value in zip(learned, best, strict=True):
            parameter.copy_(value)
    network.eval()
    return Course(best_epoch, tuple(train_losses), tuple(tune_losses))


def scores_of(network: nn.Module, bags: PackedBags, chosen: NDArray[np.intp], dtype: torch.dtype) -> Tensor:
    """Return the scores of chosen bags (chosen,) in double precision, with dropout off."""
    network.eval()
    pieces = np.array_split(chosen, math.ceil(len(chosen) / BAGS_PER_FORWARD))
    with torch.inference_mode():
        found = [forward(network, bags.take(few), dtype).logits[:, 0].double() for few in pieces]
    return torch.cat(found)
