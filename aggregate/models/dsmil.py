"""Dual-stream multiple instance learning (Li, Li, Eliceiri: Dual-stream MIL network, 2021).

With h_i = relu(x_i W + b), for each class c:

    s_ic = h_i C_c + f_c                     instance stream; m_c is the slice with the highest s_ic
    q_i = tanh(h_i Q + r)
    a_ic = softmax_i(q_i . q_{m_c} / sqrt(width of q))
    z_c = sum_i a_ic h_i                     bag stream
    logits_c = (max_i s_ic + z . D_c + g_c) / 2      z is the concatenation of all z_c

The attention of a slice is the mean of its a_ic, weighted by the class probabilities. Its evidence is s_ic.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from aggregate.models.instances import Instances
from aggregate.models.mil import AttendingEstimator, EvidentEstimator
from aggregate.models.network import Embedding, Network, Output, Shape
from aggregate.models.parameters import Count, ShareBelowOne


class DualStream(Network):
    """DSMIL on bags padded to one length."""

    def __init__(self, shape: Shape, *, hidden: int, query: int, dropout: float) -> None:
        super().__init__()
        self.embed = Embedding(shape.n_features, hidden)
        self.instance = nn.Linear(hidden, shape.n_classes)
        self.query = nn.Linear(hidden, query)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(shape.n_classes * hidden, shape.n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        rows = self.embed(instances.features)  # (rows, hidden)
        evidence = self.instance(rows).float()  # (rows, classes)
        highest, critical = instances.padded(evidence, filling=-torch.inf).max(dim=1)  # (bags, classes)
        queries = instances.padded(torch.tanh(self.query(rows)).float())  # (bags, most rows, query)
        of_critical = queries.gather(1, critical.unsqueeze(2).expand(-1, -1, queries.shape[2]))
        similarity = of_critical @ queries.transpose(1, 2) / math.sqrt(queries.shape[2])
        hidden = similarity.masked_fill(~instances.is_real.unsqueeze(1), -torch.inf)
        attention = hidden.float().softmax(dim=2)  # (bags, classes, most rows)
        pooled = attention @ instances.padded(rows).float()  # (bags, classes, hidden)
        logits = (highest + self.classify(self.drop(pooled.flatten(1)))) / 2
        # Not a product of matrices, which bfloat16 would round: the weights of a bag sum to 1.
        mixed = (logits.float().softmax(dim=1).unsqueeze(2) * attention).sum(dim=1)  # (bags, most rows)
        return Output(logits, instances.unpadded(mixed), evidence)


@dataclass(kw_only=True, eq=False, repr=False)
class DSMIL(AttendingEstimator, EvidentEstimator):
    """DSMIL."""

    kind: ClassVar[str] = "dsmil"

    hidden: Count = 128
    """Width of an embedded instance."""
    query: Count = 64
    """Width of the queries; each is compared with the query of the critical instance."""
    dropout: ShareBelowOne = 0.25
    """Share of the bag embedding set to zero during training."""

    def new_network(self, shape: Shape) -> DualStream:
        """Return the network that the parameters describe."""
        return DualStream(shape, hidden=self.hidden, query=self.query, dropout=self.dropout)
