"""Attention in two steps: over the instances of each group of a bag (phase, scale), then over the groups present.

With the embedded instances h_i, their scores g_i, and G the groups of a bag:

    a_i = softmax over group G of g_i
    z_G = sum_{i in G} a_i h_i + e_G        e_G is learned for each group
    c_G = softmax over the groups present of k(z_G)
    the bag is sum_G c_G z_G, and the weight of instance i of group G is c_G a_i
"""

from collections.abc import Callable

import torch
from torch import Tensor

from aggregate.models.segments import segment_softmax, segment_sum


def pooled_in_two_steps(
    embedded: Tensor,
    scores: Tensor,
    group: Tensor,
    n_bags: int,
    *,
    embedding: Tensor,
    score_of: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Pool the instances of each group, then the groups of each bag; a group without instances has no part.

    Args:
        embedded: (rows, hidden).
        scores: (rows,), before the softmax within the group.
        group: int64 (rows,), the bag times the number of groups, plus the group within the bag.
        n_bags: number of bags; each has a row.
        embedding: (groups, hidden), the learned vector of each group.
        score_of: the score (n,) of pooled groups (n, hidden).

    Returns:
        The bags (bags, hidden), and the weight of each row (rows,), summing to 1 over each bag.
    """
    n_groups = len(embedding)
    within = segment_softmax(scores, group, n_bags * n_groups)
    pooled = segment_sum(within.unsqueeze(1) * embedded, group, n_bags * n_groups)
    groups = pooled + embedding.repeat(n_bags, 1)  # (bags x groups, hidden)
    is_present = torch.zeros_like(groups[:, 0], dtype=torch.bool).index_fill(0, group, True)
    of_groups = score_of(groups).masked_fill(~is_present, -torch.inf)
    across = of_groups.view(n_bags, n_groups).softmax(dim=1)  # (bags, groups)
    mixed = (across.unsqueeze(1) @ groups.view(n_bags, n_groups, -1)).squeeze(1)
    return mixed, across.flatten().index_select(0, group) * within
