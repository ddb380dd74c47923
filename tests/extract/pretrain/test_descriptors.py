"""Descriptors of images whose descriptors are known."""

import math

import pytest
import torch

from extract.pretrain.descriptors import (
    CELLS,
    EDGE_CELLS,
    EDGE_SIDES,
    GROUPS,
    LEVELS,
    describe,
    standardised_over_batch,
)

IMAGES = torch.rand(3, 112, 112, generator=torch.Generator().manual_seed(0))


def maps(images):
    """Strength of edges as (n, sides, orientations, rows, columns)."""
    edges = describe(images)["edges"]
    return edges.view(len(images), len(EDGE_SIDES), 4, EDGE_CELLS, EDGE_CELLS)


@pytest.mark.parametrize("size", [64, 80, 112])
def test_every_group_has_its_length_whatever_the_size(size):
    found = {name: values.shape for name, values in describe(IMAGES[:, :size, :size]).items()}
    assert found == {name: (3, length) for name, length in GROUPS.items()}


def test_a_constant_image_has_a_level_and_no_edge():
    found = describe(torch.full((1, 112, 112), 1 / 3))
    assert torch.allclose(found["thumbnail"], torch.tensor(1 / 3))
    assert torch.equal(found["edges"], torch.zeros(1, GROUPS["edges"]))
    assert torch.allclose(found["texture"], torch.tensor(math.log(3e-3)))
    # 1/3 is the sixth of sixteen levels from 0 to 1.
    assert torch.allclose(found["histogram"], torch.eye(LEVELS)[5:6], atol=1e-5)


def test_the_thumbnail_of_a_chessboard_is_the_chessboard():
    board = torch.tensor([0.25, 0.75]).repeat(CELLS, CELLS // 2)
    board[1::2] = 1 - board[1::2]
    enlarged = board.repeat_interleave(14, 0).repeat_interleave(14, 1)
    assert torch.allclose(describe(enlarged[None])["thumbnail"], board.view(1, -1))


def test_a_slope_along_x_has_edges_of_one_orientation_as_steep_as_worked_by_hand():
    slope = (torch.arange(112.0) / 112).expand(1, 112, 112)
    found = maps(slope)
    # Reduced to 56 and 16 px, neighbours differ by 1/56 and 1/16.
    for side, row in zip(EDGE_SIDES, found[0], strict=True):
        assert torch.allclose(row[0], torch.tensor(side**-0.5), rtol=1e-4)
        assert row[1:].abs().max() < 1e-2


def test_a_transposed_image_has_transposed_descriptors():
    found, turned = describe(IMAGES), describe(IMAGES.mT)
    assert torch.allclose(turned["thumbnail"].view(-1, CELLS, CELLS).mT.flatten(1), found["thumbnail"])
    assert torch.allclose(maps(IMAGES.mT).mT[:, :, [2, 1, 0, 3]], maps(IMAGES), atol=1e-3)
    assert torch.allclose(turned["histogram"], found["histogram"], atol=1e-5)


def test_a_brighter_image_has_the_same_edges_and_an_inverted_one_too():
    faint = IMAGES / 2
    for changed in (faint + 0.3, 1 - faint):
        assert torch.allclose(describe(changed)["edges"], describe(faint)["edges"], atol=1e-3)
        assert torch.allclose(describe(changed)["texture"], describe(faint)["texture"], atol=1e-3)


def test_shares_of_the_grey_levels_add_up_to_one_and_turn_round_when_inverted():
    found = describe(IMAGES)["histogram"]
    assert torch.allclose(found.sum(1), torch.ones(3), atol=1e-5)
    assert torch.allclose(describe(1 - IMAGES)["histogram"], found.flip(1), atol=1e-5)


def test_standardised_over_the_batch_what_never_differs_is_nothing():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert torch.equal(standardised_over_batch(values), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
