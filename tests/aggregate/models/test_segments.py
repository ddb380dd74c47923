"""Sums, means, maxima and softmax of segments, by hand and by law."""

import pytest
import torch

from aggregate.models.segments import segment_max, segment_mean, segment_softmax, segment_sum

SEGMENT = torch.tensor([0, 0, 2, 2, 2])
"""Of three segments the middle one has no row."""
VALUES = torch.tensor([[1.0, 5], [3, 1], [-2, -2], [-4, 8], [0, 0]])


def test_sums_by_hand():
    assert segment_sum(VALUES, SEGMENT, 3).tolist() == [[4, 6], [0, 0], [-6, 6]]


def test_means_by_hand():
    assert segment_mean(VALUES, SEGMENT, 3).tolist() == [[2, 3], [0, 0], [-2, 2]]


def test_maxima_by_hand():
    assert segment_max(VALUES, SEGMENT, 3).tolist() == [[3, 5], [0, 0], [0, 8]]


def test_softmax_by_hand():
    scores = torch.tensor([3.0, 1, 2, 1, 1]).log()
    expected = torch.tensor([0.75, 0.25, 0.5, 0.25, 0.25])
    torch.testing.assert_close(segment_softmax(scores, SEGMENT, 3), expected)


def test_softmax_of_scores_of_any_size_is_finite():
    assert segment_softmax(torch.tensor([1e30, -1e30, 0, 0, -1e30]), SEGMENT, 3).tolist() == [
        1,
        0,
        0.5,
        0.5,
        0,
    ]


@pytest.mark.parametrize("function", [segment_sum, segment_max])
def test_gradients_equal_finite_differences(function):
    values = VALUES.double() + torch.rand(5, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: function(v, SEGMENT, 3), values.requires_grad_())


def test_the_gradient_of_the_softmax_equals_finite_differences():
    scores = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: segment_softmax(s, SEGMENT, 3), scores)


def test_each_segment_is_as_if_alone():
    scores = torch.randn(5)
    together = segment_softmax(scores, SEGMENT, 3)
    torch.testing.assert_close(together[:2], scores[:2].softmax(dim=0))
    torch.testing.assert_close(together[2:], scores[2:].softmax(dim=0))
