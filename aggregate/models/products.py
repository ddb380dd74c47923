"""Matrix products of stacked fits.

PyTorch computes float32 products on a CPU with MKL, which on processors of AMD leaves half of an AVX-512 unit
unused; oneDNN, which PyTorch computes bfloat16 products with, uses all of it: 240 against 110 GFLOP/s on one core of
an EPYC with AVX-512 (1200 x 512 x 128). With AVX2 there is no such half, and MKL is the quicker one: for the
gradients of weights by a quarter. The operation of oneDNN used below is the one that PyTorch's own compiler emits
for a linear layer; its sums are float32 sums like MKL's. A build of PyTorch without it computes as ever.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_WORTH_IT = 2**20
"""Multiplications of one fit's product from which oneDNN's start-up is paid back."""


def affine(inputs: Tensor, weight: Tensor, bias: Tensor, *, is_rectified: bool = False) -> Tensor:
    """Return inputs (fits, rows, in) @ weight (fits, in, out) + bias (fits, 1, out), in the inputs' precision.

    `is_rectified`: what is negative becomes 0.
    """
    weight, bias = weight.to(inputs.dtype), bias.to(inputs.dtype)
    result: Tensor = _Affine.apply(inputs, weight, bias, is_rectified)  # type: ignore[no-untyped-call]
    return result


class _Affine(torch.autograd.Function):
    """`affine` and its gradients."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, is_rectified: bool) -> Tensor:  # noqa: ANN401, FBT001 - PyTorch gives its type no attributes, and functions no names
        result = product(inputs, weight, bias)
        if is_rectified:
            result.relu_()
        ctx.save_for_backward(inputs, weight, result if is_rectified else None)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:  # noqa: ANN401
        inputs, weight, rectified = ctx.saved_tensors
        (gradient,) = gradients
        if rectified is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified, 0)
        of_inputs = product(gradient, weight.mT) if ctx.needs_input_grad[0] else None
        return of_inputs, product(inputs.mT, gradient), gradient.sum(dim=1, keepdim=True), None


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return left (fits, m, k) @ right (fits, k, n) + bias (fits, 1, n); neither factor need be contiguous."""
    if not _suits_onednn(left, right):
        return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)
    if bias is not None:
        return _one_by_one([_linear(a, b.t(), c[0]) for a, b, c in zip(left, right, bias, strict=True)])
    if left.is_contiguous():
        return _one_by_one([_linear(a, b.t()) for a, b in zip(left, right, strict=True)])
    # oneDNN copies a left factor that is not contiguous: of a gradient of weights, the narrower one is copied.
    return _one_by_one([_linear(b.t(), a) for a, b in zip(left, right, strict=True)]).mT


def uses_onednn(values: Tensor) -> bool:
    """Whether large products of values like these are oneDNN's, which compiles them anew for every shape."""
    if values.device.type != "cpu":
        return False
    return values.dtype == torch.bfloat16 or (values.dtype == torch.float32 and _onednn_is_quicker())


@cache
def _onednn_is_quicker() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    )


def _suits_onednn(left: Tensor, right: Tensor) -> bool:
    is_large = left.shape[1] * left.shape[2] * right.shape[2] >= _WORTH_IT
    return is_large and left.dtype == torch.float32 and uses_onednn(left)


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return inputs (rows, in) @ weight (out, in) transposed + bias (out,): (rows, out)."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return result


def _one_by_one(results: Sequence[Tensor]) -> Tensor:
    """Return one result per fit as one tensor, without a copy where there is only one fit."""
    return results[0].unsqueeze(0) if len(results) == 1 else torch.stack(list(results))
