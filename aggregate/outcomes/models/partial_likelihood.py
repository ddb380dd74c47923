"""Cox's partial log-likelihood with Efron's treatment of ties (Efron: The efficiency of Cox's likelihood function for censored data, 1977).

With f_i the score of patient i, R_t those still observed just before the time t, D_t those with the event at t, and d_t of them:

    l = sum_t [ sum_{i in D_t} f_i - sum_{k=0}^{d_t - 1} log( sum_{R_t} exp f_j - k / d_t sum_{D_t} exp f_j ) ]
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aggregate.outcomes.outcome import Values


@dataclass(frozen=True, eq=False)
class RiskSets:
    """Who is at risk at each event: all that the likelihood needs of times and events.

    Attributes:
        with_event: int64 (events,), the patients who have the event.
        at_risk: bool (events, n), who is still observed just before.
        tied: bool (events, n), who has the event at the same time.
        tied_share: float64 (events,), k / d of Efron's sum.
    """

    with_event: Tensor
    at_risk: Tensor
    tied: Tensor
    tied_share: Tensor

    @classmethod
    def of(cls, values: Values, device: str = "cpu") -> Self:
        """Collect the risk sets of event and time of n patients."""
        event, time = values["event"], values["time"]
        chosen = np.flatnonzero(event)
        at_risk = time[None, :] >= time[chosen, None]
        tied = event[None, :] & (time[None, :] == time[chosen, None])
        before = np.array(
            [np.sum(time[chosen[:i]] == time[one]) for i, one in enumerate(chosen)], dtype=np.float64
        )
        share = before / np.maximum(1, tied.sum(axis=1))
        arrays = (chosen, at_risk, tied, share)
        return cls(*(torch.from_numpy(np.asarray(array)).to(device) for array in arrays))

    def __len__(self) -> int:
        return len(self.with_event)


def partial_log_likelihood(scores: Tensor, sets: RiskSets) -> Tensor:
    """Return the partial log-likelihood (a number) of the scores (n,), in their precision."""
    highest = scores.max().detach()  # the likelihood is that of all scores less a number
    hazards = torch.exp(scores - highest)
    at_risk = sets.at_risk.to(scores.dtype) @ hazards
    tied = sets.tied.to(scores.dtype) @ hazards
    sums = at_risk - sets.tied_share.to(scores.dtype) * tied
    return (scores[sets.with_event] - highest - torch.log(sums)).sum()


def log_likelihood_of(scores: NDArray[np.float64], values: Values) -> float:
    """Return the partial log-likelihood of scores of n patients, in double precision."""
    return float(
        partial_log_likelihood(torch.from_numpy(np.asarray(scores, np.float64)), RiskSets.of(values))
    )


def likelihood_of_others(scores: NDArray[np.float64], values: Values, is_other: NDArray[np.bool_]) -> float:
    """Return what others add to the partial log-likelihood of those trained on (Verweij and van Houwelingen: Cross-validation in survival analysis, 1993).

    Args:
        scores: of all (n,).
        values: event and time of all.
        is_other: who was not trained on.
    """
    trained = ~is_other
    return log_likelihood_of(scores, values) - log_likelihood_of(scores[trained], values[trained])
