"""The contract of a network over instances, and the layers that several networks share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aggregate.models.instances import Instances


@dataclass(frozen=True, eq=False)
class Output:
    """What a network says of a few bags in one forward pass.

    Attributes:
        logits: (bags, classes).
        attention: (rows,), weight of each row in its bag, summing to 1 over the bag; None where it has none.
        evidence: (rows, classes), what each row speaks for, higher meaning more; None where it has none.
        auxiliary_loss: class of each bag, int64 (bags,) -> a loss to be added to that of each bag (bags,); None where
            the classes of the bags are all that is learned from.
    """

    logits: Tensor
    attention: Tensor | None = None
    evidence: Tensor | None = None
    auxiliary_loss: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Shape:
    """What a network must know of the bags before it can be built."""

    n_features: int
    n_phases: int
    n_classes: int


class Network(nn.Module, ABC):
    """An ordinary module: instances of a few bags in, logits of the bags out."""

    @abstractmethod
    def forward(self, instances: Instances) -> Output:
        """Return logits, and attention and evidence where the network has them."""

    def __call__(self, instances: Instances) -> Output:
        """Return what `forward` returns, with its type."""
        output: Output = super().__call__(instances)
        return output


class WithCovariates(nn.Module):
    """Another network, with a linear term of the patient's covariates added to its logits; 0 before training."""

    def __init__(self, network: nn.Module, n_covariates: int, n_classes: int) -> None:
        super().__init__()
        self.network = network
        self.weights = nn.Parameter(torch.zeros(n_covariates, n_classes))

    def forward(self, instances: Instances) -> Output:
        """Return the output of the network inside, its logits changed; without covariates it stays as it is."""
        output = self.network(instances)
        output = output if isinstance(output, Output) else Output(output)
        if instances.covariates is None:
            return output
        return replace(output, logits=output.logits.float() + instances.covariates @ self.weights)


class Embedding(nn.Sequential):
    """relu(x W + b) of each row."""

    def __init__(self, n_features: int, hidden: int) -> None:
        super().__init__(nn.Linear(n_features, hidden), nn.ReLU())


class GatedScore(nn.Module):
    """(tanh(h V + c) * sigmoid(h U + e)) w of each row; no bias at the end, which a softmax would not feel."""

    def __init__(self, width: int, gate: int) -> None:
        super().__init__()
        self.gates = nn.Linear(width, 2 * gate)
        self.score = nn.Linear(gate, 1, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the scores (rows,) of rows (rows, width), in float32."""
        signal, door = self.gates(rows).chunk(2, dim=1)
        # tanh(x) = 2 sigmoid(2 x) - 1: PyTorch's sigmoid on a CPU takes a tenth of its tanh's time.
        score: Tensor = self.score((2 * torch.sigmoid(2 * signal) - 1) * torch.sigmoid(door))
        return score.squeeze(1).float()
