"""Matrix products of stacked fits.

PyTorch computes float32 products on a CPU with MKL, which on processors of AMD leaves half of the vector unit
unused; oneDNN, which it computes bfloat16 products with, uses all of it: 240 against 110 GFLOP/s on one core of an
EPYC with AVX-512 (1200 x 512 x 128). The operation below is the one that PyTorch's own compiler emits for a linear
layer; its sums are float32 sums like MKL's. A build of PyTorch without it computes as ever.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_WORTH_IT = 2**20
"""Multiplications of one fit's product from which oneDNN's start-up is paid back."""


def affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return inputs (fits, rows, in) @ weight (fits, in, out) + bias (fits, 1, out), in the inputs' precision."""
    weight, bias = weight.to(inputs.dtype), bias.to(inputs.dtype)
    if _suits_onednn(inputs, weight):
        product: Tensor = _OneDNNAffine.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return torch.baddbmm(bias, inputs, weight)


def _suits_onednn(inputs: Tensor, weight: Tensor) -> bool:
    is_large = inputs.shape[1] * weight.shape[1] * weight.shape[2] >= _WORTH_IT
    is_for_it = inputs.device.type == "cpu" and inputs.dtype == torch.float32
    return is_large and is_for_it and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _linear(inputs: Tensor, weight: Tensor) -> Tensor:
    """Return inputs (rows, in) @ weight (out, in) transposed (rows, out); neither need be contiguous."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, None, "none", [], "")
    return product


class _OneDNNAffine(torch.autograd.Function):
    """`affine` and its gradients, one fit after the other."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401 - PyTorch gives its type no attributes
        ctx.save_for_backward(inputs, weight)
        return torch.stack([_linear(x, w.t()) for x, w in zip(inputs, weight, strict=True)]).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:  # noqa: ANN401
        inputs, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_inputs = of_weight = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.stack([_linear(g, w) for g, w in zip(gradient, weight, strict=True)])
        if ctx.needs_input_grad[1]:
            of_weight = torch.stack([_linear(g.t(), x.t()) for x, g in zip(inputs, gradient, strict=True)])
            of_weight = of_weight.transpose(1, 2)
        return of_inputs, of_weight, gradient.sum(dim=1, keepdim=True)
