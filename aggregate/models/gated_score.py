"""The gated attention score with its gradient written out, in a third of the passes over memory.

With h an embedded slice, v and u its two gates, t = tanh(v) and d = sigmoid(u):

    [v, u] = h G + c
    score = (t * d) w

Written with s = sigmoid(2 v) - 1/2, tanh(v) = 2 s: PyTorch's sigmoid on a CPU takes a quarter of its tanh's time. So

    score = p (2 w)        with p = s d
    d score / dv = w * (d - 4 s p)
    d score / du = 2 w * (p - p d)

where [w, 2 w] is the same for all slices: it goes into the products with G, not into a pass over the slices.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aggregate.models.products import product


class GatedScore(torch.autograd.Function):
    """(tanh(h V + c) * sigmoid(h U + e)) w of each row.

    From h (fits, rows, width), [V, U] (fits, width, 2 gate), [c, e] (fits, 1, 2 gate) and w (fits, gate, 1). The
    products with h have the precision of h; the gates, the scores and the sums are in that of the parameters.
    """

    @staticmethod
    def forward(ctx: Any, embedded: Tensor, weight: Tensor, bias: Tensor, score: Tensor) -> Tensor:  # noqa: ANN401 - PyTorch gives its type no attributes
        """Return the scores (fits, rows)."""
        doubled = torch.ones_like(bias)
        doubled[..., : score.shape[1]] = 2
        gates = product(
            embedded, (weight * doubled).to(embedded.dtype), (bias * doubled).to(embedded.dtype)
        ).to(score.dtype)
        signal, door = gates.sigmoid_().chunk(2, dim=2)
        passed = signal.sub_(0.5) * door
        ctx.save_for_backward(embedded, weight, score, gates, passed)
        return (passed @ (2 * score)).squeeze(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: ANN401
        """Return the gradients of h, of the weight and bias of the gates, and of w."""
        embedded, weight, score, gates, passed = ctx.saved_tensors
        gradient = gradients[0].unsqueeze(2)  # (fits, rows, 1)
        signal, door = gates.chunk(2, dim=2)
        slope = torch.empty_like(gates)
        of_signal, of_door = slope.chunk(2, dim=2)
        torch.addcmul(door, signal, passed, value=-4, out=of_signal)
        torch.addcmul(passed, passed, door, value=-1, out=of_door)
        of_bias = gradient.mT @ slope
        slope.mul_(gradient)
        shared = torch.cat([score, 2 * score], dim=1).mT  # (fits, 1, 2 gate)
        rounded = slope.to(embedded.dtype)
        of_embedded = product(rounded, (weight * shared).to(embedded.dtype).mT)
        of_weight = product(embedded.mT, rounded).to(weight.dtype) * shared
        return of_embedded, of_weight, of_bias * shared, 2 * (passed.mT @ gradient)
