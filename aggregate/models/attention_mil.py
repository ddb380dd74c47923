"""Gated attention over instances (Ilse, Tomczak, Welling: Attention-based deep multiple instance learning, 2018).

With the instances x_i of a bag, standardised:

    h_i = relu(x_i W + b)
    a_i = softmax_i( (tanh(h_i V + c) * sigmoid(h_i U + e)) w )
    logits = (sum_i a_i h_i) C + f

The evidence of an instance is h_i C + f: the logits of a bag that holds this instance only.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from aggregate.models.instances import Instances
from aggregate.models.mil import AttendingEstimator, EvidentEstimator
from aggregate.models.network import Embedding, GatedScore, Network, Output, Shape
from aggregate.models.parameters import Count, ShareBelowOne
from aggregate.models.segments import segment_softmax, segment_sum


class GatedAttention(Network):
    """Attention-MIL with gated scores."""

    def __init__(self, shape: Shape, *, hidden: int, gate: int, dropout: float) -> None:
        super().__init__()
        self.embed = Embedding(shape.n_features, hidden)
        self.slice_score = GatedScore(hidden, gate)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, shape.n_classes)

    def forward(self, instances: Instances) -> Output:
        """Return logits, attention and evidence."""
        embedded = self.embed(instances.features)  # (rows, hidden)
        pooled, attention = self.pooled(self.scores(embedded, instances), embedded, instances)
        return Output(self.classify(self.drop(pooled)), attention, self.classify(embedded))

    def pooled(self, scores: Tensor, embedded: Tensor, instances: Instances) -> tuple[Tensor, Tensor]:
        """Return the mean of each bag (bags, hidden) weighted by the softmax of its scores, and the softmax (rows,)."""
        attention = segment_softmax(scores, instances.bag, instances.n_bags)
        weighted = attention.unsqueeze(1) * embedded
        return segment_sum(weighted, instances.bag, instances.n_bags), attention

    def scores(self, embedded: Tensor, instances: Instances) -> Tensor:
        """Return the scores (rows,) before the softmax that gives the attention."""
        del instances
        scores: Tensor = self.slice_score(embedded)
        return scores


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionMIL(AttendingEstimator, EvidentEstimator):
    """Gated attention-MIL."""

    kind: ClassVar[str] = "attention_mil"

    hidden: Count = 128
    """Width of an embedded instance."""
    gate: Count = 64
    """Width of the attention layer."""
    dropout: ShareBelowOne = 0.25
    """Share of the bag embedding set to zero during training."""

    def new_network(self, shape: Shape) -> Network:
        """Return the network that the parameters describe."""
        return GatedAttention(shape, hidden=self.hidden, gate=self.gate, dropout=self.dropout)
