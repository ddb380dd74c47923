import numpy as np
import torch

from extract.pretrain.formulas import formulas
from extract.pretrain.pool import BLOCK, Pool, from_grey, to_grey

CPU = torch.device("cpu")


def pool(folder, seed=1):
    return Pool(
        folder, formulas({"noise": 2, "gratings": 1}, seed=seed), images=4 * BLOCK, size=16, seed=seed
    )


def test_a_filled_pool_is_not_drawn_again(tmp_path):
    assert list(pool(tmp_path).fill(CPU)) == [0, 1, 2, 3]
    assert list(pool(tmp_path).fill(CPU)) == []


def test_labels_go_round_the_formulas(tmp_path):
    assert pool(tmp_path).labels.tolist() == [0] * BLOCK + [1] * BLOCK + [2] * BLOCK + [0] * BLOCK


def test_equal_seeds_give_equal_pools_and_a_redrawn_block_differs(tmp_path):
    first, second = pool(tmp_path / "a"), pool(tmp_path / "b")
    for one in (first, second):
        list(one.fill(CPU))
    assert np.array_equal(first.images, second.images)
    before = first.images[:BLOCK].copy()
    first.redraw(0, CPU)
    assert not np.array_equal(first.images[:BLOCK], before)
    assert np.array_equal(first.images[BLOCK:], second.images[BLOCK:])


def test_pools_of_other_formulas_do_not_share_files(tmp_path):
    list(pool(tmp_path, seed=1).fill(CPU))
    assert len(list(pool(tmp_path, seed=2).fill(CPU))) == 4


def test_grey_levels_keep_the_values():
    values = torch.linspace(-3, 3, 50)
    assert (from_grey(to_grey(values)) - values).abs().max() < 0.02
