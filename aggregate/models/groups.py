"""Attention within groups of instances, such as the slices of a bag or those of one of its phases.

A row of scores for every group, masked where an instance belongs to another, is mostly mask: 24 bags of 4 phases make 96
rows of which an instance needs one. Here every instance has one score and the number of its group. On a GPU the order in
which the rows of a group are added is not fixed, so that fits of one seed differ by rounding.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each row of a stack of fits belongs to.

    Attributes:
        index: int64 (fits, rows), below `number`; equal to it for the rows that belong to none.
        number: groups of each fit; those without rows count.
    """

    index: Tensor
    number: int

    @cached_property
    def _flat_index(self) -> Tensor:
        """Where each row's group lies when the groups of all fits, and one for the rows without, lie end to end."""
        steps = (self.number + 1) * torch.arange(len(self.index), device=self.index.device)
        return (self.index + steps.unsqueeze(1)).flatten()

    def split(self, part: Tensor, n_parts: int) -> "Groups":
        """Return `n_parts` groups for each group: part p (fits, rows) of group g is group g x n_parts + p."""
        index = torch.where(self.index < self.number, self.index * n_parts + part, self.number * n_parts)
        return Groups(index, self.number * n_parts)

    def occupied(self) -> Tensor:
        """Return which groups have rows, bool (fits, groups)."""
        empty = self.index.new_zeros((len(self.index), self.number + 1), dtype=torch.bool)
        return empty.scatter_(1, self.index, True)[:, : self.number]

    def sums(self, values: Tensor) -> Tensor:
        """Return the sum of values (fits, rows, width) over each group (fits, groups, width), 0 without rows."""
        n_fits, _, width = values.shape
        sums = values.new_zeros((n_fits * (self.number + 1), width))
        sums.index_add_(0, self._flat_index, values.flatten(0, 1))
        return sums.view(n_fits, self.number + 1, width)[:, : self.number]

    def of_rows(self, values: Tensor) -> Tensor:
        """Return to each row the values (fits, groups, width) of its group (fits, rows, width), 0 for none."""
        padded = torch.nn.functional.pad(values, (0, 0, 0, 1))  # (fits, groups + 1, width)
        return padded.flatten(0, 1).index_select(0, self._flat_index).view(len(values), -1, values.shape[2])

    def softmax(self, scores: Tensor) -> Tensor:
        """Return the softmax of scores (fits, rows) within each group, 0 for the rows that belong to none.

        PyTorch cannot differentiate it, and says so: `attention_pool` has the gradient that training needs.
        """
        shape = (len(scores), self.number + 1)
        lowest = torch.finfo(scores.dtype).min
        highest = scores.new_full(shape, lowest).scatter_reduce_(1, self.index, scores, "amax")
        raised = (scores - highest.gather(1, self.index)).exp_()
        total = scores.new_zeros(shape).scatter_add_(1, self.index, raised)
        total[:, -1] = torch.inf
        return raised.div_(total.gather(1, self.index))


def attention_pool(scores: Tensor, embedded: Tensor, groups: Groups) -> Tensor:
    """Return the mean of embedded (fits, rows, width) over each group, weighted by the softmax of scores (fits, rows).

    The result (fits, groups, width) has the precision of the scores; a group without rows has 0.
    """
    pooled: Tensor = _AttentionPool.apply(scores, embedded, groups)  # type: ignore[no-untyped-call]
    return pooled


class _AttentionPool(torch.autograd.Function):
    """`attention_pool` and its gradients.

    With a = softmax(s) and z_g = sum of a_i h_i over the rows i of group g, and the gradient y_g of z_g:

        of h_i:  a_i y_g
        of s_i:  a_i (y_g h_i - y_g z_g)
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, embedded: Tensor, groups: Groups) -> Tensor:  # noqa: ANN401 - PyTorch gives its type no attributes
        weights = groups.softmax(scores).unsqueeze(2)  # (fits, rows, 1)
        pooled = groups.sums(weights * embedded)
        ctx.groups = groups
        ctx.save_for_backward(weights, embedded, pooled)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        weights, embedded, pooled = ctx.saved_tensors
        (gradient,) = gradients
        of_rows = ctx.groups.of_rows(gradient)  # (fits, rows, width)
        along = (of_rows * embedded).sum(dim=2)  # (fits, rows)
        mean = ctx.groups.of_rows((gradient * pooled).sum(dim=2, keepdim=True))  # (fits, rows, 1)
        of_scores = weights.squeeze(2) * (along - mean.squeeze(2))
        return of_scores, of_rows.mul_(weights).to(embedded.dtype), None
