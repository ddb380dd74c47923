"""The bootstrap of patients: how often each patient is drawn, for every draw at once."""

import numpy as np
from numpy.typing import NDArray


def draw_resamples(labels: NDArray[np.intp], *, draws: int, seed: int) -> NDArray[np.float64]:
    """Draw patients with replacement within each label, so that every class keeps its size.

    Args:
        labels: intp (n,).
        draws: number of resamples.
        seed: equal seeds give equal resamples.

    Returns:
        float64 (n, 1 + draws): how often a patient counts. Column 0 is all ones, the cohort itself, so that an
        estimate and its resamples come from one computation.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones((len(labels), 1 + draws))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        picks = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws)
        weights[members, 1:] = picks.T
    return weights
