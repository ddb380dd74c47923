import pytest
import torch

from aggregate.models.groups import Groups, attention_pool


@pytest.fixture
def groups():
    """Two fits of five rows: groups of two and one row, one empty, and two rows that belong to none; and of four."""
    return Groups(torch.tensor([[0, 2, 0, 3, 3], [1, 1, 3, 1, 1]]), 3)


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def test_sums_by_hand(groups):
    values = torch.tensor([[[1.0], [10], [2], [4], [8]], [[1.0], [2], [16], [4], [8]]])
    assert groups.sums(values).squeeze(2).tolist() == [[3, 0, 10], [0, 15, 0]]


def test_a_row_has_the_value_of_its_group_and_0_without_one(groups):
    values = torch.tensor([[[1.0], [2], [3]], [[4.0], [5], [6]]])
    assert groups.of_rows(values).squeeze(2).tolist() == [[1, 3, 1, 0, 0], [5, 5, 0, 5, 5]]


def test_a_group_split_in_two_keeps_the_rows_of_each_part_together(groups):
    parts = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 1, 1, 1]])
    split = groups.split(parts, 2)
    assert split.number == 6
    assert split.index.tolist() == [[0, 5, 1, 6, 6], [2, 2, 6, 3, 3]]


def test_groups_with_rows_are_occupied(groups):
    assert groups.occupied().tolist() == [[True, False, True], [False, True, False]]


def test_attention_sums_to_one_in_every_group_that_has_rows(groups):
    weights = groups.softmax(drawn(2, 5).detach())
    torch.testing.assert_close(groups.sums(weights.unsqueeze(2)).squeeze(2), groups.occupied().double())


def test_attention_by_hand(groups):
    scores = torch.tensor([[3.0, 7.0, 0.0, 1.0, 1.0]] * 2).log()
    assert groups.softmax(scores)[0].tolist() == [1, 1, 0, 0, 0]
    scores = torch.tensor([[3.0, 7.0, 1.0, 1.0, 1.0]] * 2).log()
    torch.testing.assert_close(groups.softmax(scores)[0], torch.tensor([0.75, 1, 0.25, 0, 0]))


def test_scores_of_any_size_give_finite_attention(groups):
    scores = torch.tensor([[1e30, -1e30, -1e30, 0, 0]] * 2)
    assert groups.softmax(scores).tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_pooled_is_the_mean_weighted_by_the_softmax_group_by_group(groups):
    scores, embedded = drawn(2, 5), drawn(2, 5, 4, seed=1)
    pooled = attention_pool(scores, embedded, groups)
    for fit in range(2):
        for group in range(3):
            rows = groups.index[fit] == group
            expected = scores[fit, rows].softmax(dim=0) @ embedded[fit, rows]
            torch.testing.assert_close(pooled[fit, group], expected)


def test_the_gradients_of_pooling_equal_finite_differences(groups):
    assert torch.autograd.gradcheck(
        lambda s, e: attention_pool(s, e, groups), (drawn(2, 5), drawn(2, 5, 4, seed=1))
    )


def test_pooling_half_precision_keeps_the_precision_of_the_scores(groups):
    scores, embedded = drawn(2, 5).detach().float(), drawn(2, 5, 4, seed=1).detach().bfloat16()
    pooled = attention_pool(scores, embedded, groups)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, attention_pool(scores, embedded.float(), groups))
