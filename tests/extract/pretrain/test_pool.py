import numpy as np
import torch

from extract.pretrain.formulas import formulas
from extract.pretrain.pool import BLOCK, Pool, from_grey, to_grey

CPU = torch.device("cpu")


def pool(folder, seed=1):
    return Pool(
        folder, formulas({"noise": 2, "gratings": 1}, seed=seed), images=4 * BLOCK, size=16, seed=seed
    )


def test_a_pool_draws_only_what_differs(tmp_path):
    assert list(pool(tmp_path).bring_to(0, CPU)) == [0, 1, 2, 3]
    assert list(pool(tmp_path).bring_to(0, CPU)) == []
    assert list(pool(tmp_path).bring_to(2, CPU)) == [0, 1]
    assert list(pool(tmp_path).bring_to(5, CPU)) == [0, 2, 3]


def test_labels_go_round_the_formulas(tmp_path):
    assert pool(tmp_path).labels.tolist() == [0] * BLOCK + [1] * BLOCK + [2] * BLOCK + [0] * BLOCK


def test_equal_seeds_and_redraws_give_equal_pools_whatever_came_before(tmp_path):
    first, second = pool(tmp_path / "a"), pool(tmp_path / "b")
    for redraws in (0, 7, 3):
        list(first.bring_to(redraws, CPU))
    list(second.bring_to(3, CPU))
    assert np.array_equal(first.images, second.images)


def test_a_redrawn_block_differs_and_no_other_does(tmp_path):
    drawn = pool(tmp_path)
    list(drawn.bring_to(0, CPU))
    before = drawn.images[:].copy()
    list(drawn.bring_to(1, CPU))
    assert not np.array_equal(drawn.images[:BLOCK], before[:BLOCK])
    assert np.array_equal(drawn.images[BLOCK:], before[BLOCK:])


def test_pools_of_other_formulas_do_not_share_files(tmp_path):
    list(pool(tmp_path, seed=1).bring_to(0, CPU))
    assert len(list(pool(tmp_path, seed=2).bring_to(0, CPU))) == 4


def test_grey_levels_keep_the_values():
    values = torch.linspace(-3, 3, 50)
    assert (from_grey(to_grey(values)) - values).abs().max() < 0.02
