"""Descriptors of images whose descriptors are known."""

import math

import pytest
import torch

from extract.pretrain.descriptors import (
    CELLS,
    EDGE_CELLS,
    EDGE_SIDES,
    FAINT,
    GROUPS,
    LEVELS,
    RINGS,
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


def disc(radius, inside, outside, size=240):
    """A disc in the middle; radii count from 0 at the middle to 1 at the border."""
    line = (torch.arange(size) + 0.5) * (2 / size) - 1
    return torch.where(torch.hypot(line[:, None], line) < radius, inside, outside)[None]


def rings(images):
    """Brighter or darker than the next ring, brighter or darker than the last ring, and deviations."""
    parts = describe(images)["surround"].split([2 * (RINGS - 1), 2 * (RINGS - 1), RINGS], dim=1)
    brighter, darker = (part.view(-1, 2, RINGS - 1) for part in parts[:2])
    return brighter, darker, parts[2]


def test_a_faint_bright_disc_is_brighter_than_its_surroundings_as_worked_by_hand():
    # The disc fills three of six rings, whose borders are not those of pixels: the third is nearly all of it.
    brighter, darker, _ = rings(disc(0.5, 0.52, 0.5))
    assert torch.allclose(brighter[0, 1, :2], torch.tensor(math.log1p(0.02 / FAINT)), atol=0.01)
    assert 0.9 * math.log(2) < brighter[0, 1, 2] < math.log(2)
    assert brighter[0, 0, 2] > 0.8 * math.log(2)
    assert darker.max() < 0.1


def test_a_dark_disc_is_to_darker_what_a_bright_one_is_to_brighter():
    bright, dark = rings(disc(0.5, 0.6, 0.5)), rings(disc(0.5, 0.4, 0.5))
    assert torch.allclose(bright[0], dark[1], atol=1e-3)
    assert torch.allclose(bright[1], dark[0], atol=1e-3)
    # A deviation of nothing is the root of a rounding error.
    assert torch.allclose(bright[2], dark[2], atol=0.05)


def test_bright_and_dark_contrasts_do_not_cancel_in_a_mean():
    both = torch.cat([disc(0.5, 0.6, 0.5), disc(0.5, 0.4, 0.5)])
    brighter, darker, _ = rings(both)
    assert brighter.mean(0)[1, 0] > 0.8
    assert darker.mean(0)[1, 0] > 0.8


def test_turning_by_a_right_angle_leaves_what_surrounds_the_middle_as_it_is():
    assert torch.allclose(
        describe(IMAGES.rot90(1, (1, 2)))["surround"], describe(IMAGES)["surround"], atol=1e-3
    )


def test_standardised_over_the_batch_what_never_differs_is_nothing():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert torch.equal(standardised_over_batch(values), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
