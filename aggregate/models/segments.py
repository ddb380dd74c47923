"""Sums, means, maxima and softmax over the rows of each segment, such as the instances of a bag.

The segment of a row is given by an index per row; gradients come from autograd. On a GPU the rows of a segment are
added in no fixed order, so that fits with the same seed differ there by rounding.
"""

import torch
from torch import Tensor


def segment_sum(values: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Return the sum of values (rows, ...) over each segment (segments, ...), 0 for an empty segment."""
    return values.new_zeros((n_segments, *values.shape[1:])).index_add(0, segment, values)


def segment_mean(values: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Return the mean of values (rows, ...) over each segment (segments, ...) in float32, 0 for an empty segment."""
    counts = torch.bincount(segment, minlength=n_segments).clamp(min=1)
    return segment_sum(values.float(), segment, n_segments) / counts.reshape(-1, *[1] * (values.ndim - 1))


def segment_max(values: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Return the maximum of values (rows, width) over each segment (segments, width), 0 for an empty segment."""
    index = segment.unsqueeze(1).expand_as(values)
    empty = values.new_zeros((n_segments, values.shape[1]))
    return empty.scatter_reduce(0, index, values, "amax", include_self=False)


def segment_softmax(scores: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Return the softmax of scores (rows,) within each segment (rows,)."""
    lowest = torch.finfo(scores.dtype).min
    # Subtracting the highest score prevents overflow; it changes neither the softmax nor its gradient.
    highest = scores.new_full((n_segments,), lowest).scatter_reduce(0, segment, scores.detach(), "amax")
    raised = (scores - highest.index_select(0, segment)).exp()
    return raised / segment_sum(raised, segment, n_segments).index_select(0, segment)
