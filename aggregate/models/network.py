"""The contract of a network on instances, and the layers that several networks share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aggregate.models.instances import Instances


@dataclass(frozen=True, eq=False)
class Output:
    """The output of a network for one batch of bags.

    Attributes:
        logits: (bags, classes).
        attention: (rows,), weight of each row, summing to 1 over each bag; None if the network has no attention.
        evidence: (rows, classes), logits of each single row; None if the network has none.
        auxiliary_loss: function of the class of each bag, int64 (bags,), that returns a loss added to the loss of each
            bag (bags,); None for a network trained with the bag loss alone.
    """

    logits: Tensor
    attention: Tensor | None = None
    evidence: Tensor | None = None
    auxiliary_loss: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Shape:
    """The sizes needed to build a network: features, phases, classes, scales."""

    n_features: int
    n_phases: int
    n_classes: int
    n_scales: int = 1


class Network(nn.Module, ABC):
    """A torch module from a batch of `Instances` to the logits of the bags."""

    @abstractmethod
    def forward(self, instances: Instances) -> Output:
        """Return logits, with attention and evidence if the network has them."""

    def __call__(self, instances: Instances) -> Output:
        """Call `forward`; declared for its return type."""
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
    """(tanh(h V + c) * sigmoid(h U + e)) w of each row; without a final bias, which a softmax cancels."""

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
