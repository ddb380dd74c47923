"""Weights that fit by name and shape, and are none: of a kind that casting turns into other numbers, or not finite."""

from collections.abc import Mapping

import torch
from torch import Tensor


def unusable_keys(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Mapping[str, str]:
    """Return, for each weight that must not be copied into a network, what is wrong with it.

    PyTorch casts silently: quantised int8 weights would be read as whole numbers, and complex ones would lose a part.

    Args:
        own: the state of the network.
        given: weights by the same keys; others are not looked at.
    """
    return {key: fault for key in own.keys() & given.keys() if (fault := _fault(own[key], given[key]))}


def _fault(own: Tensor, given: Tensor) -> str:
    kind, expected = _kind(given.dtype), _kind(own.dtype)
    if kind != expected:
        return f"expected {expected} numbers, found {given.dtype}".replace("torch.", "")
    if kind == "floating-point" and not bool(torch.isfinite(given).all()):
        return "a number in it is not finite"
    return ""


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_complex:
        return "complex"
    return "floating-point" if dtype.is_floating_point else "whole"
