"""AdamW over the parameters of a stack of fits."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class StackedAdamW:
    """PyTorch's AdamW, of which some fits can be kept and the others dropped.

    It calls PyTorch's function: the class would import PyTorch's compiler, two seconds before the first step.

    Attributes:
        parameters: of all fits (fits, ...), changed in place by each step.
    """

    def __init__(self, parameters: Mapping[str, Tensor], learning_rate: float, weight_decay: float) -> None:
        self.parameters = {name: value.requires_grad_() for name, value in parameters.items()}
        self._means = [torch.zeros_like(value) for value in self.parameters.values()]
        self._squares = [torch.zeros_like(value) for value in self.parameters.values()]
        self._steps = [value.new_zeros(()) for value in self.parameters.values()]
        self._learning_rate, self._weight_decay = learning_rate, weight_decay

    def step(self, loss: Tensor) -> None:
        """Move the parameters against the gradient of the loss."""
        values = list(self.parameters.values())
        # The fused step on a CPU reads a gradient as if it were contiguous: a transposed view is scrambled in silence.
        gradients = [gradient.contiguous() for gradient in torch.autograd.grad(loss, values)]
        with torch.no_grad():
            adamw(
                values,
                gradients,
                self._means,
                self._squares,
                [],
                self._steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._learning_rate,
                weight_decay=self._weight_decay,
                eps=1e-8,
                maximize=False,
            )

    def keep(self, fits: Tensor) -> None:
        """Go on with some of the fits only."""
        self.parameters = {
            name: value.detach()[fits].requires_grad_() for name, value in self.parameters.items()
        }
        self._means = [mean[fits] for mean in self._means]
        self._squares = [square[fits] for square in self._squares]
